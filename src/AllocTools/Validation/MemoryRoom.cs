namespace AllocTools.Validation;

/// <summary>What the control group leaves for pools to grow; one for all of a process, which take from the same.</summary>
/// <remarks>
/// The kernel ends a process that goes over the limit of its group, at the first write to a page and without an error to
/// catch. So where there is a limit memory is backed when it is allocated, which has the group's usage say what is really
/// taken, and each growth looks before at what is left. What has looked and is not all backed yet is not all in the usage:
/// until it is, later growths find so much less. That counts some of it twice, and never too little. A limit that is set
/// after a pool was made is not seen by it.
/// </remarks>
/// <param name="read">Asks for the group.</param>
internal sealed class MemoryRoom(Func<CgroupMemory?> read)
{
    private const long OneMebibyte = 1 << 20;

    private readonly Lock _gate = new();
    private long _growing;

    /// <summary>Of this process's group.</summary>
    public static MemoryRoom OfProcess { get; } = new(CgroupMemory.Read);

    /// <summary>Reads the group; null where it has no limit.</summary>
    public CgroupMemory? ReadGroup() => read();

    /// <summary>Takes bytes that are to be backed now. They are taken until the growth is disposed.</summary>
    /// <exception cref="InsufficientMemoryException">The group does not leave so many.</exception>
    public Growth Begin(long bytes)
    {
        lock (_gate)
        {
            // Read under the lock: a usage from before another growth has ended would have that one in neither.
            if (read() is { } group && FindShortage(group, bytes) is { } shortage)
                throw new InsufficientMemoryException(shortage);
            _growing += bytes;
        }
        return new Growth(this, bytes);
    }

    private string? FindShortage(CgroupMemory group, long bytes)
    {
        long spare = SpareOf(group);
        return bytes > group.Available - spare - _growing
            ? $"The pool can't grow by {InWords.Bytes(bytes)}: the control group's memory limit is {InWords.Bytes(group.Limit)}, and {InWords.About(group.Available)} are left ({group.File}), "
                + $"of which {InWords.About(spare)} are kept for the rest of the process{(_growing == 0 ? "" : $" and {InWords.About(_growing)} are being taken by other threads")}. "
                + "The kernel ends a process that goes over it. Return buffers sooner, lower MaxRegisteredBytes, or raise the container's limit."
            : null;
    }

    /// <summary>
    /// The cap of a pool that sets none: what the group leaves, less a quarter of the limit (64 MiB at the least) for the
    /// transport and the managed heap, which grow later; the usual default where that is less.
    /// </summary>
    public static long DefaultCap(CgroupMemory group, long usual)
    {
        long kept = Math.Max(64 * OneMebibyte, group.Lowest.Bytes / 4);
        long room = Math.Max(group.Available - kept, group.Available / 4) / OneMebibyte * OneMebibyte;
        return Math.Clamp(room, OneMebibyte, usual);
    }

    private static long SpareOf(CgroupMemory group) => Math.Clamp(group.Lowest.Bytes / 16, OneMebibyte, 64 * OneMebibyte);

    /// <summary>Bytes that are being backed.</summary>
    public readonly struct Growth(MemoryRoom room, long bytes) : IDisposable
    {
        /// <summary>They are in the group's usage, or were not to be had.</summary>
        public void Dispose()
        {
            lock (room._gate)
                room._growing -= bytes;
        }
    }
}
