namespace AllocTools.Validation;

/// <summary>What the control group leaves for a pool to grow.</summary>
/// <remarks>
/// The kernel ends a process that goes over the limit of its group, at the first write to a page and without an error to
/// catch. So where there is a limit memory is backed when it is allocated, which has the group's usage say what is really
/// taken, and each growth looks before at what is left. A limit that is set after the pool was made is not seen.
/// </remarks>
internal sealed class MemoryRoom
{
    private const long OneMebibyte = 1 << 20;

    private readonly Func<CgroupMemory?> _read;

    /// <param name="read">Asks for the group.</param>
    public MemoryRoom(Func<CgroupMemory?> read)
    {
        _read = read;
        IsLimited = read() is not null;
    }

    /// <summary>There is a limit.</summary>
    public bool IsLimited { get; }

    /// <summary>Why so many bytes more can't be had; null where they can.</summary>
    public string? FindShortage(long bytes)
    {
        if (!IsLimited || _read() is not { } group)
            return null;
        long spare = SpareOf(group);
        return bytes > group.Available - spare
            ? $"The pool can't grow by {InWords.Bytes(bytes)}: the control group's memory limit is {InWords.Bytes(group.Limit)}, and {InWords.About(group.Available)} are left ({group.File}), "
                + $"of which {InWords.About(spare)} are kept for the rest of the process. The kernel ends a process that goes over it. Return buffers sooner, lower MaxRegisteredBytes, or raise the container's limit."
            : null;
    }

    /// <summary>
    /// The cap of a pool that sets none: what the group leaves, less a quarter of the limit (64 MiB at the least) for the
    /// transport and the managed heap, which grow later; the usual default where that is less.
    /// </summary>
    public static long DefaultCap(CgroupMemory group, long usual)
    {
        long kept = Math.Max(64 * OneMebibyte, group.Limit / 4);
        long room = Math.Max(group.Available - kept, group.Available / 4) / OneMebibyte * OneMebibyte;
        return Math.Clamp(room, OneMebibyte, usual);
    }

    private static long SpareOf(CgroupMemory group) => Math.Clamp(group.Limit / 16, OneMebibyte, 64 * OneMebibyte);
}
