using AllocTools.Endpoints;

namespace AllocTools.Connections.Rings;

/// <summary>The peer's ring as its writer sees it: which one it is, where the next run goes, and how much credit there is.</summary>
/// <remarks>
/// <para>
/// The reader may offer another ring. A larger one is taken at once, a smaller one when there is nothing to write: a header alone says so, as the last in the
/// old ring, which is let go of when that header was written.
/// </para>
/// Invariants: _credit ≤ _sent; _sent ≤ max(_credit, _ringStart) + ring. All members need the writer's lock.
/// </remarks>
internal sealed class PeerRing(Leftovers leftovers)
{
    private RingTarget? _first;
    private RingTarget? _target;
    private RingTarget? _offered;
    private RingTarget? _left;
    private int _offset;

    // In bytes of all rings, since the start.
    private long _ringStart;
    private long _sent;
    private long _credit;

    public bool IsKnown => _target is not null;

    public bool HasOffer => _offered is not null;

    /// <summary>The most that a frame may take, its header included: a quarter, so that a reader that waits for more can always make room.</summary>
    public int MostFrame => MostFrameOf(_target?.Length ?? RingBlock.RingLengthOf(RingBlock.Least, isFirst: true));

    /// <summary>The most that a frame may take in a ring of that length. A multiple of 16.</summary>
    public static int MostFrameOf(int ringLength) => ringLength / 4 & ~15;

    public void Start(RingTarget target) => _first = _target = target;

    /// <summary>Takes an offer; null for the first ring.</summary>
    /// <returns>False: the reader has offered one already, or the one that is in use.</returns>
    public bool TryOffer(RingTarget? target)
    {
        if (_offered is not null || (target ?? _first) == _target)
            return false;
        _offered = target ?? _first;
        return true;
    }

    /// <summary>The peer has given back so many bytes since the start.</summary>
    /// <param name="credit">How many.</param>
    /// <param name="isMore">There is more room than before; an older one may come later.</param>
    /// <returns>False: so much was never sent.</returns>
    public bool TryCredit(long credit, out bool isMore)
    {
        isMore = credit > _credit;
        if (credit > _sent)
            return false;
        _credit = Math.Max(_credit, credit);
        return true;
    }

    /// <summary>Finds a place for a run that begins with a frame of that length.</summary>
    /// <param name="length">The frame's, header and padding included.</param>
    /// <param name="place">Where.</param>
    /// <returns>False: there is no room until the reader gives credit.</returns>
    public bool TryFind(int length, out RingPlace place)
    {
        RingTarget target = _target!;
        int before = target.Length - _offset;
        bool skips = length > before;
        long room = target.Length - (_sent - Math.Max(_credit, _ringStart)) - (skips ? before : 0);
        int offset = skips ? 0 : _offset;
        place = new RingPlace(target, offset, (int)Math.Min(room, target.Length - offset), skips ? before : 0, offset != _offset ? NoticeKind.DataAtStart : NoticeKind.Data);
        return length <= room;
    }

    /// <summary>A run goes to that place.</summary>
    public void Take(RingPlace place, int length)
    {
        _sent += place.Skipped + length;
        _offset = place.Offset + length;
    }

    /// <summary>Changes to the ring that was offered, where the time has come: what is written next is the header that says so.</summary>
    /// <param name="isIdle">Nothing waits to be written, and nothing is in the frame that is being filled.</param>
    /// <param name="place">Where that header goes.</param>
    public bool TrySwitch(bool isIdle, out RingPlace place)
    {
        place = default;
        // One at a time: there is one place for such a header.
        if (_offered is not { } next || _left is not null || (next.Length < _target!.Length && !isIdle) || !TryFind(FrameHeader.Length, out place))
            return false;
        Take(place, FrameHeader.Length);
        _left = _target;
        _target = next;
        _offered = null;
        _ringStart = _sent;
        _offset = 0;
        return true;
    }

    /// <summary>The header of the change was written.</summary>
    public void EndSwitch() => LetGo(ref _left);

    /// <summary>Lets go of the rings that were offered. Nothing is posted any more.</summary>
    public void LetGo()
    {
        LetGo(ref _target);
        LetGo(ref _offered);
        LetGo(ref _left);
    }

    private void LetGo(ref RingTarget? target)
    {
        if (target is not null && target != _first)
            leftovers.Add_NeedsLock(target.Region);
        target = null;
    }
}

/// <summary>Where a run may go.</summary>
/// <param name="Target">The ring.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Room">How long the run may be there.</param>
/// <param name="Skipped">Bytes that are left behind the run before, at the end of the ring.</param>
/// <param name="Kind">How it is announced.</param>
internal readonly record struct RingPlace(RingTarget Target, int Offset, int Room, int Skipped, NoticeKind Kind);

/// <summary>The peer's ring.</summary>
/// <param name="Region">The block that it is in.</param>
/// <param name="Offset">Where it begins there.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Number">The peer's number of the connection.</param>
internal sealed record RingTarget(RemoteRegion Region, int Offset, int Length, int Number)
{
    public ulong Notification(NoticeKind kind, int sequence) => new Notice(Number, kind, sequence).Encode();
}
