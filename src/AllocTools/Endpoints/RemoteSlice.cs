using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>A part of a peer's memory, as an argument of reads and writes.</summary>
public readonly struct RemoteSlice
{
    internal RemoteSlice(RemoteRegion region, long offset, long length)
    {
        Region = region;
        Offset = offset;
        Length = length;
    }

    /// <summary>The region that this is a part of.</summary>
    public RemoteRegion Region { get; }

    /// <summary>The offset in bytes from the start of the region.</summary>
    public long Offset { get; }

    /// <summary>The length in bytes.</summary>
    public long Length { get; }

    /// <summary>The value that an operation passes as the remote address of the first byte.</summary>
    public ulong Address => Region.Memory.Address + (ulong)Offset;

    /// <summary>Returns a part of the slice.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <param name="length">The number of bytes; offset + length must not exceed the length of this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the slice.</exception>
    public RemoteSlice Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RemoteSlice(Region, Offset + offset, length);
    }

    /// <summary>Returns the rest of the slice.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public RemoteSlice Slice(long offset) => Slice(offset, RangeCheck.Rest(offset, Length));

    /// <summary>Gets a part of the slice, such as <c>slice[16..]</c> or <c>slice[..^16]</c>.</summary>
    /// <param name="range">The range of bytes; its ends must be below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the slice.</exception>
    public RemoteSlice this[Range range]
    {
        get
        {
            (long offset, long length) = RangeCheck.Resolve(range, Length);
            return Slice(offset, length);
        }
    }

    /// <summary>Describes which bytes of which region the slice covers.</summary>
    public override string ToString() => Region is null ? "no remote memory" : $"{InWords.Bytes(Length)} at offset {InWords.Number(Offset)} of {Region}";

    /// <summary>Returns the whole region as a slice.</summary>
    /// <param name="region">The region.</param>
    public static implicit operator RemoteSlice(RemoteRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        return new RemoteSlice(region, 0, region.Length);
    }

    /// <summary>Returns the whole region as a slice.</summary>
    /// <param name="region">The region.</param>
    public static RemoteSlice FromRemoteRegion(RemoteRegion region) => region;
}
