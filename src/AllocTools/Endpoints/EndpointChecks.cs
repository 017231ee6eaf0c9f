using AllocTools.Interop;

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

    /// <summary>Checks a peer's memory against this side's transport, and against what the peer's address said.</summary>
    /// <exception cref="RmaProviderException">The memory can't be reached from here, or is not that peer's.</exception>
    public static void ThrowIfNotOfTransport(in RemoteMemory memory, TransportDescription own, TransportDescription? peer)
    {
        (_, bool takesRaw, ushort keySize) = own.Keys!.Value;
        string? reason = memory.Transport is { } transport ? own.FindReasonAgainst(transport) : null;
        if (reason is null && memory.IsRaw != takesRaw)
            reason = $"it has {(memory.IsRaw ? "a raw" : "an integer")} key, and this side works with {(takesRaw ? "raw" : "integer")} keys";
        if (reason is null && !memory.IsRaw && keySize < sizeof(ulong) && memory.Key >> (8 * keySize) != 0)
            reason = $"its key is longer than the {keySize} bytes that keys have here";
        if (reason is not null)
            throw new RmaProviderException($"The peer's memory can't be used with provider '{own.Provider}': {reason}. Both sides need the same provider.");
        if (memory.Transport?.Context is { } context && peer?.Context is { } peerContext && context != peerContext)
            throw new RmaProviderException("The memory belongs to another endpoint than the one whose address was inserted: to another peer, or to the same after a restart. Insert the address that came with the memory.");
    }

    /// <exception cref="InvalidOperationException">The peer did not expose its memory for that.</exception>
    public static void ThrowIfNotExposedFor(RmaOperationKind kind, in RemoteMemory memory)
    {
        RmaAccess needed = kind == RmaOperationKind.Write ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
        if ((memory.Access & needed) == 0)
            throw new InvalidOperationException($"The peer exposed this memory for {memory.Access}, not for {needed}.");
    }

    /// <exception cref="RmaOperationException">It would write to memory that the process may only read.</exception>
    public static void ThrowIfReadOnly(in RmaOperation operation)
    {
        if (operation.Kind is RmaOperationKind.Read or RmaOperationKind.Receive && operation.Local.Buffer.IsReadOnly)
        {
            throw new RmaOperationException(
                $"{operation.Kind} of {operation.Local.Length} bytes would write to memory that was read-only when it was registered. Use writable memory, and register it after it was made so.",
                operation.Kind,
                SystemErrors.AccessDenied,
                SystemErrors.NameOf(SystemErrors.AccessDenied));
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The time-out is none that can be kept.</exception>
    public static void ThrowIfInvalidTimeout(TimeSpan timeout)
    {
        if (timeout != Timeout.InfiniteTimeSpan && (timeout < TimeSpan.Zero || timeout > Longest))
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, $"The time-out must be between 0 and {Longest.TotalHours} hours, or Timeout.InfiniteTimeSpan.");
    }
}
