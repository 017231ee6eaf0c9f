namespace AllocTools;

/// <summary>A part of a peer's memory: what a read or a write names.</summary>
public readonly struct RemoteSlice
{
    internal RemoteSlice(RemoteRegion region, long offset, long length)
    {
        Region = region;
        Offset = offset;
        Length = length;
    }

    /// <summary>The whole.</summary>
    public RemoteRegion Region { get; }

    /// <summary>Bytes from the start of the whole.</summary>
    public long Offset { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>What an operation passes as the remote address of the first byte.</summary>
    public ulong Address => Region.Memory.Address + (ulong)Offset;

    /// <summary>The whole region as a slice.</summary>
    /// <param name="region">The region.</param>
    public static implicit operator RemoteSlice(RemoteRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        return new RemoteSlice(region, 0, region.Length);
    }

    /// <summary>The whole region as a slice.</summary>
    /// <param name="region">The region.</param>
    public static RemoteSlice FromRemoteRegion(RemoteRegion region) => region;
}
