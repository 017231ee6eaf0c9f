using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The native endpoints through which an endpoint of shm reaches its peers: one, until a peer holds it up.</summary>
/// <remarks>
/// shm before libfabric 2.x reads the answers to what an endpoint has posted strictly in order, so one peer that is stopped
/// or dead holds up the completions of all others for as long as it lasts. So the oldest operation of each lane is looked
/// at: one that has not completed for <see cref="Looks"/> looks in a row makes its peer keep that lane for itself, and
/// the others go on by another, which has the same address vector and the same completion queue. Where that peer is lost
/// and gone (<see cref="LibfabricPeer.IsGone"/>) the lane is dead: no completion comes from it any more, so its operations are given up and the lane is closed. The first lane
/// is the endpoint that peers know; it goes on receiving. Buffers of operations that were behind the lost peer's stay in
/// quarantine until the endpoint is closed: their own peers may still read them.
/// All but <see cref="For"/> and <see cref="NeedsLook"/> is called by the turn's holder.
/// </remarks>
internal sealed class TransmitLanes(LibfabricDriver driver, LibfabricContext context, LibfabricEndpointResources resources, PostedOperation[] posted)
{
    /// <summary>How many looks in a row, a quarter of a second apart, see the same operation before its peer is isolated.</summary>
    private const int Looks = 3;

    /// <summary>How many lanes there may be at a time; each takes a file in /dev/shm.</summary>
    private const int MaxLanes = 8;

    private readonly bool _isUsed = resources.InProcess is not null;
    private readonly TransmitLane _first = new(resources.Endpoint, null);
    private readonly List<TransmitLane> _lanes = [];
    private TransmitLane _current = null!;
    private long _order;
    private int _lookDue;
    private bool _saidFull;
    private volatile bool _isHeldUp;

    /// <summary>The native endpoint that an operation is posted to.</summary>
    public EndpointHandle For(ref PostedOperation operation)
    {
        if (!_isUsed || operation.IsReceive)
            return _first.Endpoint;
        TransmitLane current = Volatile.Read(ref _current) ?? _first;
        TransmitLane lane = current == _first ? _first : operation.Peer is { IsRemoved: false } peer ? peer.Lane ?? current : current;
        operation.Lane = lane;
        operation.Order = Interlocked.Increment(ref _order);
        return lane.Endpoint;
    }

    /// <summary>Something is outstanding or was held up at the last look, so that another one is of use. Any thread may call this.</summary>
    public bool NeedsLook()
    {
        if (_isHeldUp)
            return true;
        foreach (ref readonly PostedOperation operation in posted.AsSpan())
        {
            if (operation is { IsOutstanding: true, IsReceive: false })
                return true;
        }
        return false;
    }

    /// <summary>What held an operation up that did not complete in time; null where nothing is known.</summary>
    public string? ExplainTimeout(RmaDriverOperation operation) =>
        _isUsed && posted[operation.Index].Lane?.Blocker is { } blocker && blocker != operation.Peer?.Number
            ? $"it was held up behind an operation to peer {blocker}, which does not answer; its process is stopped or hangs. "
            : null;

    /// <summary>Asks for a look by the next turn. Any thread may call this.</summary>
    public void NoteLook() => Volatile.Write(ref _lookDue, 1);

    /// <summary>Looks whether a peer holds up the others, where that was asked for.</summary>
    /// <param name="completions">Ends what will never complete.</param>
    public void LookIfDue(RmaDriverCompletions completions)
    {
        if (Volatile.Read(ref _lookDue) == 0)
            return;
        Volatile.Write(ref _lookDue, 0);
        if (_lanes.Count == 0)
            _lanes.Add(_current = _first);
        _lanes.ForEach(static l => l.Head = -1);
        for (int i = 0; i < posted.Length; i++)
        {
            ref PostedOperation operation = ref posted[i];
            if (operation is { IsOutstanding: true, IsReceive: false, Lane: { } lane } && (lane.Head < 0 || operation.Order < posted[lane.Head].Order))
                lane.Head = i;
        }
        foreach (TransmitLane lane in _lanes.ToArray())
            Look(completions, lane);
        ulong[] blockers = [.. _lanes.Where(l => l.Blocker is not null).Select(l => l.Blocker!.Value).Distinct()];
        _isHeldUp = blockers.Length != 0;
        context.Health.ReportHindrance(this, _isHeldUp
            ? $"an endpoint of provider '{context.Traits.ProviderName}' has operations that do not end because of peer {string.Join(", ", blockers)}, which is lost or makes no progress"
            : null);
    }

    /// <summary>Nothing is posted any more, so nothing is held up.</summary>
    public void EndHindrance() => context.Health.ReportHindrance(this, null);

    /// <summary>Closes all but the first lane. Nothing is posted any more.</summary>
    /// <returns>False: one can't be closed.</returns>
    public bool Close()
    {
        bool isDone = true;
        foreach (TransmitLane lane in _lanes.Where(l => l != _first))
            isDone &= lane.Close(context.Health.Logger);
        return isDone;
    }

    private void Look(RmaDriverCompletions completions, TransmitLane lane)
    {
        if (lane.IsDead)
        {
            EndDead(completions, lane);
            return;
        }
        if (lane.Head < 0)
        {
            lane.Forget();
            foreach (LibfabricPeer peer in driver.PresentPeers.Where(p => p.Lane == lane))
                peer.Lane = null;
            return;
        }
        ref PostedOperation head = ref posted[lane.Head];
        LibfabricPeer? culprit = head.Peer is { IsRemoved: false } ? head.Peer : null;
        bool isLost = culprit is { IsGone: true };
        // A lost peer's last answer may have come since the completions were read; not any more by the next look.
        if (!lane.Saw(head.Order, isLost, Looks))
            return;
        foreach (LibfabricPeer other in driver.PresentPeers.Where(p => p.Lane == lane && p != culprit))
            other.Lane = null;
        lane.Blocker = head.Peer?.Number;
        if (!isLost && culprit is not null && culprit.Lane != lane)
        {
            culprit.Lane = lane;
            Log.PeerHoldsUp(context.Health.Logger, context.Traits.ProviderName, culprit.Number);
        }
        if (_current == lane && !TryChangeLane(lane))
            return;
        if (isLost)
        {
            lane.IsDead = true;
            EndDead(completions, lane);
        }
    }

    /// <returns>False: there is no other lane, so all stay on this one.</returns>
    private bool TryChangeLane(TransmitLane from)
    {
        TransmitLane? next = _lanes.Find(l => l != from && !l.IsDead && l.Head < 0);
        if (next is null && _lanes.Count < MaxLanes)
        {
            try
            {
                next = driver.OpenLane();
                _lanes.Add(next);
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
        Log.NoLane(context.Health.Logger, context.Traits.ProviderName, lane.Blocker, _lanes.Count, cause);
    }

    /// <summary>Nothing of a dead lane completes any more: ends all it has.</summary>
    private void EndDead(RmaDriverCompletions completions, TransmitLane lane)
    {
        bool isEmpty = true;
        for (int i = 0; i < posted.Length; i++)
        {
            ref PostedOperation operation = ref posted[i];
            if (operation is not { IsOutstanding: true, IsReceive: false } || operation.Lane != lane)
                continue;
            // Where the peer is there it may still read the buffer.
            if (completions.TryGiveUp(i, $"peer {lane.Blocker}", keepBuffer: operation.Peer is not { IsGone: true }))
                operation.IsOutstanding = false;
            else
                isEmpty = false;
        }
        // Others of this process may have come to know it.
        if (isEmpty && lane != _first && lane != _current && resources.InProcess is not { AreInUse: true } && lane.Close(context.Health.Logger))
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

    /// <summary>The index of the oldest operation that is outstanding, at the last look; -1 for none.</summary>
    public int Head { get; set; } = -1;

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
