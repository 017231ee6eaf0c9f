namespace AllocTools;

/// <summary>What every endpoint checks of an operation.</summary>
internal static class EndpointChecks
{
    private static readonly TimeSpan Longest = TimeSpan.FromHours(24);

    /// <exception cref="ArgumentException">Nothing can be done with the memory.</exception>
    public static void ThrowIfGrantsNothing(in RemoteMemory memory)
    {
        if ((memory.Access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite)) == 0)
            throw new ArgumentException($"The remote memory grants {memory.Access}, neither RemoteRead nor RemoteWrite: it is the default value, or no exposure's. Pass what the peer's exposure says.", nameof(memory));
    }

    /// <exception cref="InvalidOperationException">The peer did not expose its memory for that.</exception>
    public static void ThrowIfNotExposedFor(RmaOperationKind kind, in RemoteMemory memory)
    {
        RmaAccess needed = kind == RmaOperationKind.Write ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
        if ((memory.Access & needed) == 0)
            throw new InvalidOperationException($"The peer exposed this memory for {memory.Access}, not for {needed}.");
    }

    /// <exception cref="ArgumentOutOfRangeException">The time-out is none that can be kept.</exception>
    public static void ThrowIfInvalidTimeout(TimeSpan timeout)
    {
        if (timeout != Timeout.InfiniteTimeSpan && (timeout < TimeSpan.Zero || timeout > Longest))
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, $"A time-out is 0 to {Longest.TotalHours} hours, or Timeout.InfiniteTimeSpan.");
    }
}
