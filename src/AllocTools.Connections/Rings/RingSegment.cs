using System.Buffers;

namespace AllocTools.Connections.Rings;

/// <summary>The payload of a frame as a part of the reader's bytes; or bytes that were copied out of the ring.</summary>
internal sealed class RingSegment : ReadOnlySequenceSegment<byte>
{
    private byte[]? _copy;

    /// <summary>The bytes of the ring that become free with it: its frame, and skipped bytes or frames without a payload next to it.</summary>
    public int RingBytes { get; set; }

    /// <summary>The position in the stream after its last byte.</summary>
    public long End => RunningIndex + Memory.Length;

    public RingSegment? NextSegment => (RingSegment?)Next;

    /// <summary>How many more bytes can be copied into it.</summary>
    public int Room => (_copy?.Length ?? 0) - Memory.Length;

    /// <summary>Fills it with a payload in the ring.</summary>
    public void Fill(ReadOnlyMemory<byte> memory, long position, int ringBytes)
    {
        Memory = memory;
        RunningIndex = position;
        RingBytes = ringBytes;
    }

    /// <summary>Prepares it for copies, from that position in the stream on.</summary>
    public void Fill(byte[] copy, long position)
    {
        _copy = copy;
        RunningIndex = position;
    }

    /// <summary>Appends copies of bytes.</summary>
    public void Add(ReadOnlySpan<byte> bytes)
    {
        int length = Memory.Length;
        bytes.CopyTo(_copy.AsSpan(length));
        Memory = _copy.AsMemory(0, length + bytes.Length);
    }

    public void Append(RingSegment? next) => Next = next;

    /// <summary>Empties it, so that it can be used again.</summary>
    public void Clear()
    {
        if (_copy is not null)
            ArrayPool<byte>.Shared.Return(_copy);
        _copy = null;
        Memory = default;
        Next = null;
        RingBytes = 0;
    }
}
