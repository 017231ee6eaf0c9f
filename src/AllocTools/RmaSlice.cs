using AllocTools.Validation;

namespace AllocTools;

/// <summary>A part of a rented buffer: what an operation reads or fills.</summary>
public readonly struct RmaSlice
{
    internal RmaSlice(RmaBuffer buffer, long offset, long length)
    {
        Buffer = buffer;
        Offset = offset;
        Length = length;
    }

    /// <summary>The buffer.</summary>
    public RmaBuffer Buffer { get; }

    /// <summary>Bytes from the start of the buffer.</summary>
    public long Offset { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>The bytes themselves.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the slice is longer than a span can be.</exception>
    public Span<byte> Span => Buffer.GetSpan(Offset, Length);

    /// <summary>The first byte's address.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public nint Address => Buffer.Address + (nint)Offset;

    /// <summary>Keeps the memory from being handed out again while an operation runs. Called by endpoints.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    internal RmaHold Hold() => Buffer.Hold();

    /// <summary>A part of it.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <param name="length">Bytes; offset + length stay within this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part reaches out of the slice.</exception>
    public RmaSlice Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RmaSlice(Buffer, Offset + offset, length);
    }

    /// <summary>The rest of it.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public RmaSlice Slice(long offset) => Slice(offset, RangeCheck.Rest(offset, Length));

    /// <summary>A part of it, such as <c>slice[16..]</c> or <c>slice[..^16]</c>.</summary>
    /// <param name="range">Which bytes; its ends are below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part reaches out of the slice.</exception>
    public RmaSlice this[Range range]
    {
        get
        {
            (long offset, long length) = RangeCheck.Resolve(range, Length);
            return Slice(offset, length);
        }
    }

    /// <summary>Which bytes of which buffer.</summary>
    public override string ToString() => Buffer.IsDefault ? Buffer.ToString() : $"{InWords.Bytes(Length)} at offset {InWords.Number(Offset)} of a {Buffer}";

    /// <summary>The whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static implicit operator RmaSlice(RmaBuffer buffer) => new(buffer, 0, buffer.Length);

    /// <summary>The whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static RmaSlice FromRmaBuffer(RmaBuffer buffer) => buffer;
}
