using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The native endpoints through which an shm endpoint reaches its peers: a single one, until a peer blocks it.</summary>
/// <remarks>
/// shm before libfabric 2.x reads the answers to an endpoint's operations strictly in order, so one stopped or dead
/// peer delays the completions of all others. Therefore the oldest operation of each lane is checked: if it has not
/// completed for <see cref="Looks"/> checks in a row, its peer occupies that lane alone, and the others continue on
/// another lane, which has the same address vector and the same completion queue. If that peer is lost and gone
/// (<see cref="LibfabricPeer.IsGone"/>), the lane is dead: no more completions arrive on it, so its operations are
/// abandoned and the lane is closed. The first lane is the endpoint that peers know; it continues to receive. Buffers
/// of operations behind those of the lost peer stay quarantined until the endpoint is closed, because their own peers
/// may still read them. All members except <see cref="For"/> and <see cref="NeedsLook"/> may be called only by the holder
/// of the progress turn.
/// </remarks>
internal sealed class TransmitLanes(LibfabricDriver driver, LibfabricContext context, LibfabricEndpointResources resources, PostedOperation[] posted)
{
    /// <summary>
    /// The number of consecutive checks, a quarter of a second apart, that see the same operation before its peer is
    /// isolated.
    /// </summary>
    private const int Looks = 3;

    /// <summary>The maximum number of lanes at a time; each uses a file in /dev/shm.</summary>
    private const int MaxLanes = 8;

    private readonly bool _isUsed = resources.InProcess is not null;
    private readonly TransmitLane _first = new(resources.Endpoint, null);
    private readonly List<TransmitLane> _lanes = [];
    private TransmitLane _current = null!;
    private long _order;
    private int _lookDue;
    private bool _saidFull;
    private volatile bool _isHeldUp;

    /// <summary>Returns the native endpoint to which an operation is posted.</summary>
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

    /// <summary>
    /// Whether operations were outstanding or blocked at the last check, so that another check is useful. Any thread
    /// may call this.
    /// </summary>
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

    /// <summary>Explains why an operation did not complete in time, if another peer blocked it; null if the cause is unknown.</summary>
    public string? ExplainTimeout(RmaDriverOperation operation) =>
        _isUsed && posted[operation.Index].Lane?.Blocker is { } blocker && blocker != operation.Peer?.Number
            ? $"it was held up behind an operation to peer {blocker}, which does not answer; its process is stopped or hangs. "
            : null;

    /// <summary>Requests a check by the next turn. Any thread may call this.</summary>
    public void NoteLook() => Volatile.Write(ref _lookDue, 1);

    /// <summary>Checks whether a peer blocks the others, if a check was requested.</summary>
    /// <param name="completions">Receives the end of operations that will never complete.</param>
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

    /// <summary>Called when no more operations are posted, so that none are blocked.</summary>
    public void EndHindrance() => context.Health.ReportHindrance(this, null);

    /// <summary>Closes all lanes except the first. No more operations are posted.</summary>
    /// <returns>False if a lane can't be closed.</returns>
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
        // The peer may have been removed since, often because it is lost.
        LibfabricPeer? culprit = head.Peer;
        bool isLost = culprit is { IsGone: true };
        // A lost peer's last answer may have arrived since the completions were read; at the next check that is no longer possible.
        if (!lane.Saw(head.Order, isLost, Looks))
            return;
        foreach (LibfabricPeer other in driver.PresentPeers.Where(p => p.Lane == lane && p != culprit))
            other.Lane = null;
        lane.Blocker = head.Peer?.Number;
        if (!isLost && culprit is { IsRemoved: false } && culprit.Lane != lane)
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

    /// <returns>False if there is no other lane, so all peers stay on this one.</returns>
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

    /// <summary>Ends all operations of a dead lane, because none of them will complete.</summary>
    private void EndDead(RmaDriverCompletions completions, TransmitLane lane)
    {
        bool isEmpty = true;
        for (int i = 0; i < posted.Length; i++)
        {
            ref PostedOperation operation = ref posted[i];
            if (operation is not { IsOutstanding: true, IsReceive: false } || operation.Lane != lane)
                continue;
            // If the peer still exists, it may still read the buffer.
            if (completions.TryGiveUp(i, $"peer {lane.Blocker}", keepBuffer: operation.Peer is not { IsGone: true }))
                operation.IsOutstanding = false;
            else
                isEmpty = false;
        }
        // Other endpoints of this process may know the lane by now.
        if (isEmpty && lane != _first && lane != _current && resources.InProcess is not { AreInUse: true } && lane.Close(context.Health.Logger))
            _lanes.Remove(lane);
    }
}

/// <summary>One native endpoint of an shm endpoint.</summary>
internal sealed class TransmitLane(EndpointHandle endpoint, SharedMemoryFile? file)
{
    private long _seen;
    private int _looks;
    private bool _sawLost;

    public EndpointHandle Endpoint { get; } = endpoint;

    /// <summary>The index of the oldest outstanding operation at the last check; -1 for none.</summary>
    public int Head { get; set; } = -1;

    /// <summary>The number of the peer that blocks the lane; null if none does.</summary>
    public ulong? Blocker { get; set; }

    /// <summary>Whether a lost peer blocks the lane permanently.</summary>
    public bool IsDead { get; set; }

    /// <summary>Notes the result of a check.</summary>
    /// <returns>True if the same operation was seen often enough, or if its peer was seen as lost twice.</returns>
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

    /// <summary>Called when the lane has no outstanding operations.</summary>
    public void Forget()
    {
        _seen = 0;
        Blocker = null;
    }

    /// <summary>Closes a lane that is not the first.</summary>
    /// <returns>False if the lane can't be closed.</returns>
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
