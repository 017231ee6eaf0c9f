using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;

namespace AllocTools.Connections;

/// <summary>
/// The rings of one side: the first ring, and those that it offers to its peer later, larger ones under load and the
/// first one again when idle.
/// </summary>
/// <remarks>
/// All connections of a process together use at most half of the pool for larger rings, so that others can be set up.
/// If there is no room for one, the connection continues with its ring, and tries again after a pause.
/// </remarks>
internal sealed class RingOffers
{
    private const int LeastGrown = 16 << 10;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(1);

    private readonly RmaConnections _owner;
    private readonly ControlConnection _control;
    private readonly RingReader _reader;
    private readonly RingBlock _first;
    private readonly Lock _gate = new();
    private readonly List<RingBlock> _later = [];
    private TimeSpan _pause;
    private long _pausedSince;
    private bool _isClosed;
    private long _lastPosition;
    private long _lastChange;

    public RingOffers(RmaConnections owner, ControlConnection control, RingReader reader, RingBlock first)
    {
        _owner = owner;
        _control = control;
        _reader = reader;
        _first = first;
        _lastChange = owner.Time.GetTimestamp();
    }

    /// <summary>All memory to which the peer may write.</summary>
    public RingBlock[] All
    {
        get
        {
            lock (_gate)
                return [_first, .. _later];
        }
    }

    /// <summary>Makes no more offers.</summary>
    /// <returns>All memory to which the peer may write.</returns>
    public RingBlock[] Close()
    {
        lock (_gate)
            _isClosed = true;
        return All;
    }

    /// <summary>
    /// Called when the peer had to wait for room although this side keeps up: offers it a larger ring, on the thread
    /// pool.
    /// </summary>
    public void GrowLater()
    {
        if (_reader.BlockLength < _owner.Options.MaxRingBytes && !IsPaused && _reader.TryBeginOffer(isFirst: false))
            ThreadPool.UnsafeQueueUserWorkItem(static offers => offers.Grow(), this, preferLocal: false);
    }

    /// <summary>Makes the peer return to the first ring after a long idle time.</summary>
    public void ShrinkIfIdle()
    {
        long position = _reader.Position;
        if (position != _lastPosition)
        {
            _lastPosition = position;
            _lastChange = _owner.Time.GetTimestamp();
            return;
        }
        TimeSpan limit = _owner.Options.IdleShrinkAfter;
        if (limit == Timeout.InfiniteTimeSpan || _owner.Time.GetElapsedTime(_lastChange) < limit || !_reader.TryBeginOffer(isFirst: true))
            return;
        _reader.Offer(_first);
        _control.Post(ControlConnection.Frame(ControlKind.Offer, []));
    }

    /// <summary>Called when neither side uses a ring any more. Any thread may call this, under any lock.</summary>
    public void RetireLater(RingBlock ring) =>
        ThreadPool.UnsafeQueueUserWorkItem(static state => state.Offers.Retire(state.Ring), (Offers: this, Ring: ring), preferLocal: false);

    private bool IsPaused
    {
        get
        {
            lock (_gate)
                return _pause > TimeSpan.Zero && _owner.Time.GetElapsedTime(_pausedSince) < _pause;
        }
    }

    private void Grow()
    {
        RingBlock? ring = null;
        try
        {
            long length = Math.Min(_owner.Options.MaxRingBytes, Math.Max(LeastGrown, _reader.BlockLength * 4));
            ring = RingBlock.TryRent(_owner.Pool, _owner.RingShare, length, _owner.Options.MaxRingBytes);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException)
        {
            // This is handled as if the pool had no room.
        }
        bool isOffered;
        lock (_gate)
        {
            isOffered = ring is not null && !_isClosed;
            if (isOffered)
                _later.Add(ring!);
            _pause = ring is not null ? TimeSpan.Zero : _pause == TimeSpan.Zero ? FirstPause : _pause * 2 < LongestPause ? _pause * 2 : LongestPause;
            _pausedSince = _owner.Time.GetTimestamp();
        }
        _reader.Offer(isOffered ? ring : null);
        if (isOffered)
            _control.Post(ControlConnection.Frame(ControlKind.Offer, ring!.Remote.ToArray()));
        else
            ring?.Dispose();
    }

    private void Retire(RingBlock ring)
    {
        lock (_gate)
        {
            if (!_later.Remove(ring))
                return;
        }
        ring.Dispose();
    }
}

/// <summary>The memory that the connections of a process may use for rings beyond the first ones.</summary>
/// <param name="most">Bytes.</param>
internal sealed class RingShare(long most)
{
    private long _taken;

    public bool TryTake(long bytes)
    {
        if (Interlocked.Add(ref _taken, bytes) <= most)
            return true;
        GiveBack(bytes);
        return false;
    }

    public void GiveBack(long bytes) => Interlocked.Add(ref _taken, -bytes);
}
