using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;

namespace AllocTools.Connections;

/// <summary>The rings of one side: the first one, and those that it offers its peer later, larger ones under load and the first one again when idle.</summary>
internal sealed class RingOffers
{
    private readonly RmaConnections _owner;
    private readonly ControlConnection _control;
    private readonly RingReader _reader;
    private readonly RingBlock _first;
    private readonly Lock _gate = new();
    private readonly List<RingBlock> _later = [];
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

    /// <summary>All memory that the peer may write into.</summary>
    public RingBlock[] All
    {
        get
        {
            lock (_gate)
                return [_first, .. _later];
        }
    }

    /// <summary>Offers no more.</summary>
    /// <returns>All memory that the peer may write into.</returns>
    public RingBlock[] Close()
    {
        lock (_gate)
            _isClosed = true;
        return All;
    }

    /// <summary>The peer had to wait for room, though this side keeps up: offers it a larger ring, on the thread pool.</summary>
    public void GrowLater()
    {
        if (_reader.RingLength < _owner.Options.MaxRingBytes && _reader.TryBeginOffer(isFirst: false))
            ThreadPool.UnsafeQueueUserWorkItem(static offers => offers.Grow(), this, preferLocal: false);
    }

    /// <summary>Has the peer go back to the first ring, where nothing has come for long.</summary>
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

    /// <summary>A ring is used no more, by either side. Any thread may call this, under whichever lock.</summary>
    public void RetireLater(RingBlock ring) =>
        ThreadPool.UnsafeQueueUserWorkItem(static state => state.Offers.Retire(state.Ring), (Offers: this, Ring: ring), preferLocal: false);

    private void Grow()
    {
        RingBlock? ring = null;
        bool isOffered;
        long length = Math.Min(_owner.Options.MaxRingBytes, Math.Max(_owner.Options.InitialRingBytes, _reader.RingLength) * 4L);
        try
        {
            ring = new RingBlock(_owner.Pool, (int)length, isFirst: false);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException)
        {
            // The pool has no room: it goes on in the ring that it has.
        }
        lock (_gate)
        {
            isOffered = ring is not null && !_isClosed;
            if (isOffered)
                _later.Add(ring!);
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
