using System.Buffers;

namespace AllocTools.Connections.Rings;

/// <summary>The received but unconsumed bytes: payloads of frames in the ring, and before them those that were copied out of it.</summary>
/// <remarks>
/// The thread that makes progress appends, under the reader's lock; the consumer does everything else. Invariant, in
/// bytes of the stream: Consumed ≤ Examined ≤ Position.
/// </remarks>
internal sealed class ReceivedBytes
{
    private const int MostSpares = 64;
    private const int LeastCopy = 4096;
    private const int MostCopy = 1 << 20;

    private readonly Stack<RingSegment> _spares = new();
    private RingSegment? _first;
    private RingSegment? _last;
    private RingSegment? _lastCopy;
    private int _copyLength;
    private long _position;

    /// <summary>The bytes of the stream that have arrived.</summary>
    public long Position => Volatile.Read(ref _position);

    /// <summary>The bytes of the stream that were consumed.</summary>
    public long Consumed { get; private set; }

    /// <summary>The bytes of the stream that were examined: a read waits for more.</summary>
    public long Examined { get; private set; }

    /// <summary>All available bytes.</summary>
    public ReadOnlySequence<byte> Unconsumed =>
        _first is null ? default : new ReadOnlySequence<byte>(_first, (int)(Consumed - _first.RunningIndex), _last!, _last!.Memory.Length);

    /// <summary>Appends a payload.</summary>
    /// <param name="payload">The payload in the ring.</param>
    /// <param name="ringBytes">The bytes of the ring that it occupies.</param>
    /// <returns>The bytes of the ring that are already free.</returns>
    public int Append(ReadOnlyMemory<byte> payload, int ringBytes)
    {
        if (payload.IsEmpty)
        {
            if (_last is null)
                return ringBytes;
            _last.RingBytes += ringBytes;
            return 0;
        }
        if (!_spares.TryPop(out RingSegment? segment))
            segment = new RingSegment();
        segment.Fill(payload, _position, ringBytes);
        _position += payload.Length;
        _last?.Append(segment);
        _last = segment;
        _first ??= segment;
        return 0;
    }

    /// <summary>Called when bytes have arrived that will not be consumed.</summary>
    public void Skip(int payload) => Consumed = _position += payload;

    /// <summary>Returns the position in the stream of a place in the returned bytes.</summary>
    public static long PositionOf(SequencePosition position, long otherwise) =>
        position.GetObject() is RingSegment segment ? segment.RunningIndex + position.GetInteger() : otherwise;

    /// <summary>Removes consumed bytes.</summary>
    /// <returns>The bytes of the ring that become free.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The positions don't belong to the returned bytes.</exception>
    public int Advance(long consumed, long examined)
    {
        if (consumed < Consumed || consumed > _position || examined < consumed || examined > _position)
            throw new ArgumentOutOfRangeException(nameof(consumed), "The position must be within the bytes that were read, and not before those that were consumed.");
        Consumed = consumed;
        Examined = Math.Max(Examined, examined);
        int free = 0;
        while (_first is { } segment && segment.End <= consumed)
        {
            free += segment.RingBytes;
            _first = segment.NextSegment;
            if (segment == _last)
                _last = null;
            if (segment == _lastCopy)
                (_lastCopy, _copyLength) = (null, 0);
            Recycle(segment);
        }
        return free;
    }

    /// <summary>Selects the bytes that are still in the ring.</summary>
    public CopyOut BeginCopy() => new(_lastCopy is { } copy ? copy.NextSegment : _first, _last);

    /// <summary>
    /// Copies them after the bytes that were copied before. The consumer calls this without the lock, and changes
    /// nothing else meanwhile.
    /// </summary>
    public CopyOut Copy(CopyOut what)
    {
        long total = what.Last!.End - what.First!.RunningIndex;
        RingSegment? target = _lastCopy, added = null;
        for (RingSegment segment = what.First; ; segment = segment.NextSegment!)
        {
            for (ReadOnlySpan<byte> rest = segment.Memory.Span; !rest.IsEmpty;)
            {
                if (target is null || target.Room == 0)
                {
                    // Each copy is larger than the one before, so that a message of any length has few of them.
                    _copyLength = (int)Math.Clamp(Math.Max(total, 2L * _copyLength), LeastCopy, MostCopy);
                    var next = new RingSegment();
                    next.Fill(ArrayPool<byte>.Shared.Rent(_copyLength), segment.End - rest.Length);
                    if (added is not null)
                        target!.Append(next);
                    added ??= next;
                    target = next;
                }
                int length = Math.Min(rest.Length, target.Room);
                target.Add(rest[..length]);
                rest = rest[length..];
                total -= length;
            }
            if (segment == what.Last)
                return what with { Added = added, Target = target };
        }
    }

    /// <summary>Replaces bytes in the ring by the copies.</summary>
    /// <returns>The bytes of the ring that become free.</returns>
    public int EndCopy(CopyOut done)
    {
        RingSegment? rest = done.Last!.NextSegment;
        if (_first == done.First)
            _first = done.Added;
        if (done.Added is not null)
            _lastCopy?.Append(done.Added);
        _lastCopy = done.Target;
        _lastCopy!.Append(rest);
        if (rest is null)
            _last = _lastCopy;
        int free = 0;
        RingSegment? segment = done.First;
        while (segment != rest)
        {
            RingSegment copied = segment!;
            segment = copied.NextSegment;
            free += copied.RingBytes;
            Recycle(copied);
        }
        return free;
    }

    private void Recycle(RingSegment segment)
    {
        segment.Clear();
        if (_spares.Count < MostSpares)
            _spares.Push(segment);
    }

    /// <summary>Segments that are copied out of the ring.</summary>
    /// <param name="First">The first of them; null if there are none.</param>
    /// <param name="Last">The last of them.</param>
    /// <param name="Added">The first new segment; null if the copies fit into the last segment with copies.</param>
    /// <param name="Target">The last segment with copies.</param>
    internal readonly record struct CopyOut(RingSegment? First, RingSegment? Last, RingSegment? Added = null, RingSegment? Target = null);
}
