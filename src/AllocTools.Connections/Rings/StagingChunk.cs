namespace AllocTools.Connections.Rings;

/// <summary>A piece of registered memory that a writer fills with frames.</summary>
internal sealed class StagingChunk(RmaBuffer buffer) : IDisposable
{
    private readonly RmaBuffer _buffer = buffer;

    /// <summary>The bytes.</summary>
    public Memory<byte> Memory { get; } = buffer.Memory;

    public int Length => Memory.Length;

    /// <summary>The number of its frames that are queued or being written, plus one while the caller of GetMemory holds its room.</summary>
    public int Uses { get; set; }

    /// <summary>The number of bytes from its start that frames occupy.</summary>
    public int Used { get; set; }

    public RmaSlice Slice(int offset, int length) => _buffer.Slice(offset, length);

    public void Dispose() => _buffer.Dispose();
}
