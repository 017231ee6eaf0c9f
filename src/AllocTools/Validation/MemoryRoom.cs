namespace AllocTools.Validation;

/// <summary>
/// The memory that the control group leaves for pools to grow. One instance serves all pools of the process, because
/// they share that memory.
/// </summary>
/// <remarks>
/// The kernel ends a process that exceeds the limit of its group, at the first write to a page and without an error
/// that could be caught. Therefore, if there is a limit, memory is backed when it is allocated, so that the group's
/// usage includes it, and each growth first checks the remaining memory. Until a growth has been backed completely, the
/// usage does not include all of it, so its whole size is subtracted for later growths. That may count some memory
/// twice, but never too little. A pool does not see a limit that is set after the pool was created.
/// </remarks>
/// <param name="read">Reads the group.</param>
internal sealed class MemoryRoom(Func<CgroupMemory?> read)
{
    private const long OneMebibyte = 1 << 20;

    private readonly Lock _gate = new();
    private long _growing;

    /// <summary>The instance for this process's group.</summary>
    public static MemoryRoom OfProcess { get; } = new(CgroupMemory.Read);

    /// <summary>Reads the group; null if it has no limit.</summary>
    public CgroupMemory? ReadGroup() => read();

    /// <summary>Reserves bytes that are to be backed now, until the growth is disposed.</summary>
    /// <exception cref="InsufficientMemoryException">The group does not leave that many bytes.</exception>
    public Growth Begin(long bytes)
    {
        lock (_gate)
        {
            // This is read under the lock. Otherwise a growth that ends in between would be counted neither in the usage nor as growing.
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
                + "The kernel ends a process that exceeds the limit. Return buffers sooner, lower MaxRegisteredBytes, or raise the container's limit."
            : null;
    }

    /// <summary>
    /// Returns the cap of a pool that does not set one: the memory that the group leaves, minus a quarter of the limit
    /// (at least 64 MiB) for the transport and the managed heap, which grow later, but at most the usual default.
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
        /// <summary>Ends the growth: the bytes are now in the group's usage, or could not be allocated.</summary>
        public void Dispose()
        {
            lock (room._gate)
                room._growing -= bytes;
        }
    }
}
