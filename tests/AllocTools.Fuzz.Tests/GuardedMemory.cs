using System.Buffers;
using System.Runtime.InteropServices;

namespace AllocTools.Fuzz.Tests;

/// <summary>Memory whose last byte is followed by a page that may not be touched: reading one byte too many ends the process.</summary>
internal sealed unsafe partial class GuardedMemory : MemoryManager<byte>
{
    // mmap(2), mprotect(2): PROT_NONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS.
    private const int None = 0;
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;

    private readonly byte* _address;
    private readonly int _length;
    private readonly nuint _mapped;

    public GuardedMemory(int length)
    {
        int page = Environment.SystemPageSize;
        _length = (length + page - 1) / page * page;
        _mapped = (nuint)(_length + page);
        nint address = Map(0, _mapped, ReadWrite, PrivateAnonymous, -1, 0);
        if (address == -1)
            throw new InsufficientMemoryException();
        _address = (byte*)address;
        if (Protect(address + _length, (nuint)page, None) != 0)
            throw new InvalidOperationException("mprotect(2) failed.");
    }

    /// <summary>Copies bytes to its end.</summary>
    public ReadOnlyMemory<byte> Place(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(GetSpan()[(_length - bytes.Length)..]);
        return Memory[(_length - bytes.Length)..];
    }

    public override Span<byte> GetSpan() => new(_address, _length);

    public override MemoryHandle Pin(int elementIndex = 0) => new(_address + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing) => _ = Unmap((nint)_address, _mapped);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int descriptor, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nuint length);
}
