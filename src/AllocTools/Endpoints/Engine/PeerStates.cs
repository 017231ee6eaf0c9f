using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using Microsoft.Extensions.Logging;

namespace AllocTools.Endpoints.Engine;

/// <summary>Changes the states of an endpoint's peers, and counts, logs and reports each change.</summary>
/// <remarks>
/// Changes are reported in the order in which they happen. A state is changed and reported under one lock, which is
/// never held while user code or the driver is called.
/// </remarks>
internal sealed class PeerStates(EndpointErrors errors, EndpointCounters counters, EndpointHealth health)
{
    private readonly Lock _gate = new();
    private readonly ChangeReaders<RmaPeerChange> _readers = new();
    private readonly int[] _counts = new int[EndpointCounters.PeerStates.Length];

    /// <inheritdoc cref="IRmaEndpoint.ReadPeerChangesAsync"/>
    public IAsyncEnumerable<RmaPeerChange> ReadAsync(CancellationToken cancellationToken) => _readers.ReadAsync(cancellationToken);

    /// <summary>Ends all readers after the reports so far.</summary>
    public void Close() => _readers.Close();

    /// <summary>Marks a peer as lost. Any thread may call this, under any lock.</summary>
    /// <returns>False if the peer was already lost, or was removed.</returns>
    public bool Lose(RmaDriverPeer peer, PeerLoss loss)
    {
        lock (_gate)
        {
            RmaPeerState before = peer.State;
            if (peer.IsRemoved || !peer.TryLose(loss))
                return false;
            Move_NeedsLock(before, RmaPeerState.Lost);
            if (loss.IsReported)
                Report_NeedsLock(peer, RmaPeerState.Lost, loss.Reason);
        }
        if (loss.IsReported)
            Log.PeerLost(health.Logger, health.Provider, peer.Number, loss.Reason);
        return true;
    }

    /// <summary>Called when a peer was inserted.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="wasLost">Whether a peer at the same address was lost before.</param>
    /// <returns>Whether it was reported as the return of that peer.</returns>
    public bool Add(RmaDriverPeer peer, bool wasLost)
    {
        lock (_gate)
        {
            _counts[(int)peer.State]++;
            // Another thread may already have found that it is lost again.
            if (!wasLost || peer.IsLost)
                return false;
            Report_NeedsLock(peer, RmaPeerState.Up, "it was inserted again after it was lost");
            return true;
        }
    }

    /// <summary>Marks a peer as removed; its state does not change any more.</summary>
    /// <returns>Whether the peer was lost, and the loss was reported.</returns>
    public bool Remove(RmaDriverPeer peer)
    {
        lock (_gate)
        {
            peer.Remove();
            _counts[(int)peer.State]--;
            return peer.Loss is { IsReported: true };
        }
    }

    /// <summary>Returns how many peers are in each state. Never waits for the driver.</summary>
    public Dictionary<RmaPeerState, int> CountByState()
    {
        lock (_gate)
            return EndpointCounters.PeerStates.ToDictionary(state => state, state => _counts[(int)state]);
    }

    /// <summary>Marks a peer as slow.</summary>
    public void SetSlow(RmaDriverPeer peer, TimeSpan time)
    {
        string reason = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"an operation with it has been outstanding for {time.TotalSeconds:0.#} s");
        lock (_gate)
        {
            if (peer.IsRemoved || peer.IsLost || peer.IsSlow)
                return;
            peer.IsSlow = true;
            Move_NeedsLock(RmaPeerState.Up, RmaPeerState.Slow);
            Report_NeedsLock(peer, RmaPeerState.Slow, reason);
        }
        Log.PeerSlow(health.Logger, health.Provider, peer.Number, reason);
    }

    /// <summary>Marks a peer as no longer slow.</summary>
    public void EndSlow(RmaDriverPeer peer)
    {
        lock (_gate)
        {
            if (peer.IsRemoved || peer.IsLost || !peer.IsSlow)
                return;
            peer.IsSlow = false;
            Move_NeedsLock(RmaPeerState.Slow, RmaPeerState.Up);
            Report_NeedsLock(peer, RmaPeerState.Up, "none of its operations is overdue any more");
        }
        Log.PeerNoLongerSlow(health.Logger, health.Provider, peer.Number);
    }

    private void Move_NeedsLock(RmaPeerState from, RmaPeerState to)
    {
        _counts[(int)from]--;
        _counts[(int)to]++;
    }

    private void Report_NeedsLock(RmaDriverPeer peer, RmaPeerState state, string reason)
    {
        counters.PeerChanged(state);
        _readers.Report(new RmaPeerChange(errors.PeerOf(peer)!.Value, state, reason));
    }
}
