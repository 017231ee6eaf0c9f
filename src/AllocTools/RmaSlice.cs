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
    public RmaHold Hold() => Buffer.Hold();

    /// <summary>The whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static implicit operator RmaSlice(RmaBuffer buffer) => new(buffer, 0, buffer.Length);

    /// <summary>The whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static RmaSlice FromRmaBuffer(RmaBuffer buffer) => buffer;
}
