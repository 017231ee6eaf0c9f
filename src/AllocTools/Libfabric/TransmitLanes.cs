using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The native endpoints through which an endpoint of shm reaches its peers: one, until a peer holds it up.</summary>
/// <remarks>
/// shm before libfabric 2.x reads the answers to what an endpoint has posted strictly in order, so one peer that is stopped
/// or dead holds up the completions of all others for as long as it lasts. So the oldest operation of each lane is looked
/// at: one that has not completed for <see cref="Looks"/> looks in a row makes its peer keep that lane for itself, and
/// the others go on by another, which has the same address vector and the same completion queue. Where that peer is lost
/// and gone (<see cref="PeerEntry.IsGone"/>) the lane is dead: no completion comes from it any more, so its slots are freed and the lane is closed. The first lane
/// is the endpoint that peers know; it goes on receiving. Buffers of operations that were behind the lost peer's stay in
/// quarantine until the endpoint is closed: their own peers may still read them.
/// All but <see cref="For"/> and <see cref="NeedsLook"/> is called by the turn's holder.
/// </remarks>
internal sealed class TransmitLanes(LibfabricContext context, LibfabricEndpointResources resources, PeerTable peers, OperationSlot[] slots, OperationEnding ending)
{
    /// <summary>How many looks in a row, a quarter of a second apart, see the same operation before its peer is isolated.</summary>
    private const int Looks = 3;

    /// <summary>How many lanes there may be at a time; each takes a file in /dev/shm.</summary>
    private const int MaxLanes = 8;

    private readonly bool _isUsed = resources.HasFile;
    private readonly TransmitLane _first = new(resources.Endpoint, null);
    private readonly List<TransmitLane> _lanes = [];
    private readonly List<RmaHold> _kept = [];
    private TransmitLane _current = null!;
    private long _order;
    private ulong _lastPeer;
    private long _lastGeneration = -1;
    private Doorbell? _lastBell;
    private int _lookDue;
    private bool _saidFull;
    private volatile bool _isHeldUp;

    /// <summary>The native endpoint that an operation is posted to.</summary>
    public EndpointHandle For(OperationSlot slot)
    {
        if (!_isUsed || slot.Kind == RmaOperationKind.Receive)
            return _first.Endpoint;
        TransmitLane current = Volatile.Read(ref _current) ?? _first;
        TransmitLane lane = current == _first ? _first : peers.Find(slot)?.Lane ?? current;
        slot.Lane = lane;
        slot.PostOrder = Interlocked.Increment(ref _order);
        return lane.Endpoint;
    }

    /// <summary>By which the peer is told once an operation was posted to it; null where it needs not be told. The caller must hold the progress turn.</summary>
    public Doorbell? BellOf(OperationSlot slot)
    {
        if (!_isUsed || slot.Kind == RmaOperationKind.Receive)
            return null;
        // Mostly the same peer again.
        if (_lastPeer != slot.Peer || _lastGeneration != slot.PeerGeneration)
        {
            (_lastPeer, _lastGeneration) = (slot.Peer, slot.PeerGeneration);
            _lastBell = peers.Find(slot)?.File?.Bell;
        }
        return _lastBell;
    }

    /// <summary>Something is outstanding or was held up at the last look, so that another one is of use. Any thread may call this.</summary>
    public bool NeedsLook()
    {
        if (_isHeldUp)
            return true;
        foreach (OperationSlot slot in slots)
        {
            if (IsOutstanding(slot))
                return true;
        }
        return false;
    }

    /// <summary>Asks for a look by the next turn. Any thread may call this.</summary>
    public void NoteLook() => Volatile.Write(ref _lookDue, 1);

    /// <summary>Looks whether a peer holds up the others, where that was asked for.</summary>
    public void LookIfDue()
    {
        if (Volatile.Read(ref _lookDue) == 0)
            return;
        Volatile.Write(ref _lookDue, 0);
        if (_lanes.Count == 0)
            _lanes.Add(_current = _first);
        _lanes.ForEach(static l => l.Head = null);
        foreach (OperationSlot slot in slots)
        {
            if (IsOutstanding(slot) && slot.Lane is { } lane && (lane.Head is null || slot.PostOrder < lane.Head.PostOrder))
                lane.Head = slot;
        }
        foreach (TransmitLane lane in _lanes.ToArray())
            Look(lane);
        ulong[] blockers = [.. _lanes.Where(l => l.Blocker is not null).Select(l => l.Blocker!.Value).Distinct()];
        _isHeldUp = blockers.Length != 0;
        context.ReportHindrance(this, _isHeldUp
            ? $"an endpoint of provider '{context.Traits.ProviderName}' has operations that do not end because of peer {string.Join(", ", blockers)}, which is lost or makes no progress"
            : null);
    }

    /// <summary>Closes all but the first lane. Nothing is posted any more.</summary>
    /// <returns>False: one can't be closed.</returns>
    public bool Close()
    {
        bool isDone = true;
        context.ReportHindrance(this, null);
        foreach (TransmitLane lane in _lanes.Where(l => l != _first))
            isDone &= lane.Close(context.Logger);
        return isDone;
    }

    /// <summary>Gives back what was kept for peers that might still read it.</summary>
    public void ReleaseKept()
    {
        foreach (RmaHold kept in _kept)
        {
            RmaHold hold = kept;
            hold.Release();
        }
        _kept.Clear();
    }

    private static bool IsOutstanding(OperationSlot slot) => slot.Kind != RmaOperationKind.Receive
        && slot.State is OperationState.Posted or OperationState.Cancelling or OperationState.Ending or OperationState.Abandoned;

    private void Look(TransmitLane lane)
    {
        if (lane.IsDead)
        {
            EndDead(lane);
            return;
        }
        if (lane.Head is not { } head)
        {
            lane.Forget();
            foreach ((_, PeerEntry entry) in peers.Present.Where(p => p.Value.Lane == lane))
                entry.Lane = null;
            return;
        }
        PeerEntry? culprit = peers.Find(head);
        bool isLost = culprit is { IsGone: true };
        // A lost peer's last answer may have come since the completions were read; not any more by the next look.
        if (!lane.Saw(head.PostOrder, isLost, Looks))
            return;
        foreach ((_, PeerEntry other) in peers.Present.Where(p => p.Value.Lane == lane && p.Value != culprit))
            other.Lane = null;
        if (!isLost && culprit is not null && culprit.Lane != lane)
        {
            culprit.Lane = lane;
            lane.Blocker = head.Peer;
            Log.PeerHoldsUp(context.Logger, context.Traits.ProviderName, head.Peer);
        }
        lane.Blocker = head.Peer;
        if (_current == lane && !TryChangeLane(lane, isLost))
            return;
        if (isLost)
        {
            lane.IsDead = true;
            EndDead(lane);
        }
    }

    /// <returns>False: there is no other lane, so all stay on this one.</returns>
    private bool TryChangeLane(TransmitLane from, bool isLost)
    {
        TransmitLane? next = _lanes.Find(l => l != from && !l.IsDead && l.Head is null);
        if (next is null && _lanes.Count < MaxLanes)
        {
            try
            {
                peers.Exclusively(() => next = resources.OpenLane());
                _lanes.Add(next!);
            }
            catch (RmaProviderException e)
            {
                NoteFull(from, e);
                return false;
            }
        }
        if (next is null)
        {
            NoteFull(from, null);
            return false;
        }
        Volatile.Write(ref _current, next);
        _saidFull = false;
        return true;
    }

    private void NoteFull(TransmitLane lane, RmaProviderException? cause)
    {
        if (_saidFull)
            return;
        _saidFull = true;
        Log.NoLane(context.Logger, context.Traits.ProviderName, lane.Blocker, _lanes.Count, cause);
    }

    /// <summary>Nothing of a dead lane completes any more: ends and frees all it has.</summary>
    private void EndDead(TransmitLane lane)
    {
        bool isEmpty = true;
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            // After the word: where it is still the one that was read, the lane is of the same use.
            if (!IsOutstanding(slot) || slot.Lane != lane)
                continue;
            RmaPeerLostException? lost = peers.FindLoss(slot);
            if (OperationSlot.StateOf(word) is OperationState.Posted or OperationState.Cancelling)
                ending.TryAbandon(slot, word, lost as Exception ?? LibfabricErrors.HeldUp(context.Traits.ProviderName, slot.Kind, slot.Length, lane.Blocker));
            if (slot.State != OperationState.Abandoned)
            {
                // Its owner is being told; the next look finds it.
                isEmpty = false;
                continue;
            }
            if (peers.Find(slot) is not { IsGone: true })
                _kept.Add(slot.TakeHold());
            OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
        }
        if (isEmpty && lane != _first && lane != _current && lane.Close(context.Logger))
            _lanes.Remove(lane);
    }
}

/// <summary>One of them.</summary>
internal sealed class TransmitLane(EndpointHandle endpoint, SharedMemoryFile? file)
{
    private long _seen;
    private int _looks;
    private bool _sawLost;

    public EndpointHandle Endpoint { get; } = endpoint;

    /// <summary>The oldest operation that is outstanding, at the last look.</summary>
    public OperationSlot? Head { get; set; }

    /// <summary>The number of the peer that holds it up; null where none does.</summary>
    public ulong? Blocker { get; set; }

    /// <summary>A lost peer holds it up, for ever.</summary>
    public bool IsDead { get; set; }

    /// <summary>Notes what a look has seen.</summary>
    /// <returns>True where the same operation was seen often enough, or twice that its peer is lost.</returns>
    public bool Saw(long order, bool isLost, int looks)
    {
        if (_seen != order)
        {
            _seen = order;
            _looks = 0;
            _sawLost = false;
            Blocker = null;
        }
        bool sawLost = _sawLost;
        _sawLost = isLost;
        return ++_looks >= looks && !isLost || isLost && sawLost;
    }

    /// <summary>It has nothing outstanding.</summary>
    public void Forget()
    {
        _seen = 0;
        Blocker = null;
    }

    /// <summary>Closes a lane that is not the first.</summary>
    /// <returns>False: it can't be closed.</returns>
    public bool Close(Microsoft.Extensions.Logging.ILogger logger)
    {
        if (!Endpoint.IsClosed)
        {
            Endpoint.DangerousRelease();
            Endpoint.CloseLogged(logger, "fi_close (endpoint)");
            file?.Dispose();
        }
        return Endpoint.IsReleased && Endpoint.CloseStatus == 0;
    }
}
