using System.Buffers;

namespace AllocTools.Connections.Rings;

/// <summary>The payload of a frame, as a part of what the reader hands out.</summary>
internal sealed class RingSegment : ReadOnlySequenceSegment<byte>
{
    private byte[]? _spilled;

    /// <summary>Bytes of the ring that come free with it: its frame, and what was skipped before or has no payload after it.</summary>
    public int RingBytes { get; set; }

    /// <summary>The stream's position of the byte after its last one.</summary>
    public long End => RunningIndex + Memory.Length;

    public RingSegment? NextSegment => (RingSegment?)Next;

    public void Fill(ReadOnlyMemory<byte> memory, long position, int ringBytes)
    {
        Memory = memory;
        RunningIndex = position;
        RingBytes = ringBytes;
    }

    public void Append(RingSegment next) => Next = next;

    /// <summary>Copies the payload out of the ring, whose bytes are free then.</summary>
    /// <returns>How many bytes come free.</returns>
    public int Spill()
    {
        if (_spilled is null && Memory.Length > 0)
        {
            _spilled = ArrayPool<byte>.Shared.Rent(Memory.Length);
            Memory.CopyTo(_spilled);
            Memory = _spilled.AsMemory(0, Memory.Length);
        }
        int bytes = RingBytes;
        RingBytes = 0;
        return bytes;
    }

    /// <summary>Empties it, so that it can be used again.</summary>
    public void Clear()
    {
        if (_spilled is not null)
            ArrayPool<byte>.Shared.Return(_spilled);
        _spilled = null;
        Memory = default;
        Next = null;
        RingBytes = 0;
    }
}
