using System.Buffers;

namespace AllocTools.Connections.Rings;

/// <summary>The payload of a frame, as a part of what the reader hands out; or bytes that were copied out of the ring.</summary>
internal sealed class RingSegment : ReadOnlySequenceSegment<byte>
{
    private byte[]? _copy;

    /// <summary>Bytes of the ring that come free with it: its frame, and what was skipped before or has no payload after it.</summary>
    public int RingBytes { get; set; }

    /// <summary>The stream's position of the byte after its last one.</summary>
    public long End => RunningIndex + Memory.Length;

    public RingSegment? NextSegment => (RingSegment?)Next;

    /// <summary>How many bytes more a copy has room for.</summary>
    public int Room => (_copy?.Length ?? 0) - Memory.Length;

    /// <summary>It is a payload in the ring.</summary>
    public void Fill(ReadOnlyMemory<byte> memory, long position, int ringBytes)
    {
        Memory = memory;
        RunningIndex = position;
        RingBytes = ringBytes;
    }

    /// <summary>It takes copies, of what begins at that position of the stream.</summary>
    public void Fill(byte[] copy, long position)
    {
        _copy = copy;
        RunningIndex = position;
    }

    /// <summary>Copies bytes behind those that it has.</summary>
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
