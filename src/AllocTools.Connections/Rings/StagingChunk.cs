namespace AllocTools.Connections.Rings;

/// <summary>Registered memory that a writer fills with frames.</summary>
internal sealed class StagingChunk(RmaBuffer buffer) : IDisposable
{
    private readonly RmaBuffer _buffer = buffer;

    /// <summary>The bytes.</summary>
    public Memory<byte> Memory { get; } = buffer.Memory;

    /// <summary>Frames of it that are queued or being written, and one where the writer still fills it.</summary>
    public int Uses { get; set; }

    /// <summary>Bytes from its start that have frames, or one that is being filled.</summary>
    public int Used { get; set; }

    public int Length => Memory.Length;

    public RmaSlice Slice(int offset, int length) => _buffer.Slice(offset, length);

    public void Dispose() => _buffer.Dispose();
}
