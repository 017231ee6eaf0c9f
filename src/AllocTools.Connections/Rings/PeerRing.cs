using AllocTools.Endpoints;

namespace AllocTools.Connections.Rings;

/// <summary>The peer's ring from the writer's point of view: the ring, the place of the next run, and the credit.</summary>
/// <remarks>
/// <para>
/// The reader may offer another ring. A larger ring is accepted immediately, a smaller one when there is nothing to
/// write: a header without a payload announces it as the last frame in the old ring, which is released when that header
/// was written.
/// </para>
/// Invariants: _credit ≤ _sent; _sent ≤ max(_credit, _ringStart) + ring. The caller of any member must hold the writer's lock.
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

    /// <summary>The longest frame, including its header: a quarter, so that a reader that waits for more can always make room.</summary>
    public int MostFrame => MostFrameOf(_target?.Length ?? RingBlock.RingLengthOf(RingBlock.Least, isFirst: true));

    /// <summary>The longest frame in a ring of that length, a multiple of 16.</summary>
    public static int MostFrameOf(int ringLength) => ringLength / 4 & ~15;

    public void Start(RingTarget target) => _first = _target = target;

    /// <summary>Accepts an offer; null for the first ring.</summary>
    /// <returns>False: the reader has already offered one, or has offered the ring that is in use.</returns>
    public bool TryOffer(RingTarget? target)
    {
        if (_offered is not null || (target ?? _first) == _target)
            return false;
        _offered = target ?? _first;
        return true;
    }

    /// <summary>Called with the credit of the peer, in bytes since the start.</summary>
    /// <param name="credit">The credit.</param>
    /// <param name="isMore">Whether there is more room than before; older credit may arrive later.</param>
    /// <returns>False: the credit exceeds the bytes sent.</returns>
    public bool TryCredit(long credit, out bool isMore)
    {
        isMore = credit > _credit;
        if (credit > _sent)
            return false;
        _credit = Math.Max(_credit, credit);
        return true;
    }

    /// <summary>Finds a place for a run that begins with a frame of that length.</summary>
    /// <param name="length">The length of the frame, including header and padding.</param>
    /// <param name="place">The place.</param>
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

    /// <summary>Commits a run to that place.</summary>
    public void Take(RingPlace place, int length)
    {
        _sent += place.Skipped + length;
        _offset = place.Offset + length;
    }

    /// <summary>Changes to the offered ring, if it is time: the next write is the header that announces it.</summary>
    /// <param name="isIdle">Whether nothing waits to be written, and the open frame is empty.</param>
    /// <param name="header">The length of that header.</param>
    /// <param name="place">Its place.</param>
    public bool TrySwitch(bool isIdle, int header, out RingPlace place)
    {
        place = default;
        // Only one change at a time is possible, because there is one place for such a header.
        if (_offered is not { } next || _left is not null || (next.Length < _target!.Length && !isIdle) || !TryFind(header, out place))
            return false;
        Take(place, header);
        _left = _target;
        _target = next;
        _offered = null;
        _ringStart = _sent;
        _offset = 0;
        return true;
    }

    /// <summary>Called when the header of the change was written.</summary>
    public void EndSwitch() => LetGo(ref _left);

    /// <summary>Releases the offered rings. No more operations are posted.</summary>
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

/// <summary>A place for a run.</summary>
/// <param name="Target">The ring.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Room">The longest possible run there.</param>
/// <param name="Skipped">Bytes that are skipped after the previous run, at the end of the ring.</param>
/// <param name="Kind">How it is announced.</param>
internal readonly record struct RingPlace(RingTarget Target, int Offset, int Room, int Skipped, NoticeKind Kind);

/// <summary>The peer's ring.</summary>
/// <param name="Region">The block that contains it.</param>
/// <param name="Offset">Its offset in the block.</param>
/// <param name="Length">Its length in bytes.</param>
/// <param name="Number">The peer's number of the connection.</param>
internal sealed record RingTarget(RemoteRegion Region, int Offset, int Length, int Number)
{
    public ulong Notification(NoticeKind kind, int sequence) => new Notice(Number, kind, sequence).Encode();
}
