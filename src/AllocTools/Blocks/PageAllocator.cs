using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Blocks;

/// <summary>Anonymous private pages: mmap(2), or VirtualAlloc on Windows.</summary>
/// <remarks>
/// Multiples of 2 MiB are aligned to 2 MiB and may become transparent huge pages (Linux): fewer entries in the
/// processor's tables, and in those of a NIC that pins them. A NUMA node is only preferred: if it is full, the memory
/// comes from another one; with a strict binding the kernel would end a process when the node has no memory.
/// </remarks>
public sealed class PageAllocator : IBlockAllocator
{
    private const long TransparentSize = 2 << 20;

    private readonly PageAllocatorOptions _options;
    private readonly Func<nint, nuint, int> _unmap;
    private readonly Lock _spareGate = new();
    private readonly List<(nint Address, long Length)> _spare = [];

    /// <param name="options">The options; null: the defaults.</param>
    /// <exception cref="NotSupportedException">The system has no huge pages, or no such NUMA node, although the options
    /// require them.</exception>
    public PageAllocator(PageAllocatorOptions? options = null)
        : this(options, SystemPages.Unmap)
    {
    }

    /// <summary>Creates an allocator with a function that unmaps memory, for tests.</summary>
    internal PageAllocator(PageAllocatorOptions? options, Func<nint, nuint, int> unmap)
    {
        _unmap = unmap;
        _options = options ?? new PageAllocatorOptions();
        PageSize = Environment.SystemPageSize;
        if (_options.HugePages == RmaHugePages.Explicit)
        {
            PageSize = HugePages.DefaultSize
                ?? throw new NotSupportedException("HugePages is Explicit, but this system has no huge pages: /proc/meminfo has no Hugepagesize. Set it to Transparent or Off.");
        }
        if (_options is { NumaNode: { } node, NumaNodeRequired: true } && !NumaNodes.Exists(node))
            throw new NotSupportedException($"NumaNode is {node}, but this system has no such node; it has {NumaNodes.Describe()}.");
    }

    /// <inheritdoc/>
    public int PageSize { get; }

    /// <inheritdoc/>
    public nint Allocate(long length, bool populate)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (length % PageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"The length must be a multiple of the page size, {PageSize} bytes.");
        if (!TryTakeSpare(length, out nint address))
            address = MapCounted(length);
        try
        {
            Prepare(address, length, populate);
            return address;
        }
        catch (InsufficientMemoryException e)
        {
            int error = TryFree(address, length);
            if (error != 0)
                throw new InsufficientMemoryException($"{e.Message} They could not be unmapped again, either: {SystemPages.Describe(error)}.", e);
            throw;
        }
    }

    /// <inheritdoc/>
    public void Free(nint address, long length)
    {
        int error = TryFree(address, length);
        if (error != 0)
            throw new ArgumentException($"{InWords.Size(length)} could not be unmapped: {SystemPages.Describe(error)}. They were not allocated here, or were already freed.", nameof(address));
    }

    /// <summary>
    /// Unmaps memory. If that needs one mapping more than the process may have (ENOMEM at vm.max_map_count, in the
    /// middle of mappings that the kernel has merged), the pages are released nevertheless, and the addresses are kept
    /// for the next allocation of that length.
    /// </summary>
    private int TryFree(nint address, long length)
    {
        int error = _unmap(address, (nuint)length);
        if (error == 0)
            MappingCount.Remove();
        if (error != SystemErrors.NoMemory || SystemPages.Discard(address, (nuint)length) != 0)
            return error;
        lock (_spareGate)
            _spare.Add((address, length));
        return 0;
    }

    private bool TryTakeSpare(long length, out nint address)
    {
        lock (_spareGate)
        {
            int at = _spare.FindIndex(s => s.Length == length);
            address = at < 0 ? 0 : _spare[at].Address;
            if (at >= 0)
                _spare.RemoveAt(at);
            return at >= 0;
        }
    }

    private nint MapCounted(long length)
    {
        if (MappingCount.TryAdd() is { } shortage)
            throw new InsufficientMemoryException(shortage);
        try
        {
            return Map(length);
        }
        catch
        {
            MappingCount.Remove();
            throw;
        }
    }

    private nint Map(long length)
    {
        nint address;
        if (_options.HugePages == RmaHugePages.Explicit)
        {
            if (SystemPages.MapHuge((nuint)length, out address) != 0)
                throw new InsufficientMemoryException(HugePages.Missing(length, PageSize));
            return address;
        }
        int error = IsAligned(length)
            ? SystemPages.MapAligned((nuint)length, (nuint)TransparentSize, out address)
            : SystemPages.Map((nuint)length, out address);
        return error == 0
            ? address
            : throw new InsufficientMemoryException($"The system could not provide {InWords.Size(length)} of memory for the pool: {SystemPages.Describe(error)}. {SystemShortage.Explain(error)}".TrimEnd());
    }

    /// <summary>Prepares pages. The order matters: the node and the size of the pages must be set before the first page is allocated.</summary>
    private void Prepare(nint address, long length, bool populate)
    {
        int error;
        if (_options.NumaNode is { } node && (error = SystemPages.PreferNode(address, (nuint)length, node)) != 0 && _options.NumaNodeRequired)
            throw new InsufficientMemoryException($"Memory of NUMA node {node} can't be requested: mbind failed with {SystemPages.Describe(error)}. Unset NumaNode, or allow the process to call mbind(2).");
        if (_options.HugePages == RmaHugePages.Transparent && IsAligned(length))
            SystemPages.AdviseHugePages(address, (nuint)length);
        if (populate && (error = SystemPages.Populate(address, (nuint)length)) != 0)
            throw new InsufficientMemoryException($"The system can't back {InWords.Size(length)} of the pool with memory: {SystemPages.Describe(error)}. {SystemShortage.Explain(error)}".TrimEnd());
    }

    private static bool IsAligned(long length) => length % TransparentSize == 0;
}
