using System.Collections.Concurrent;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.Interop;

namespace AllocTools.Connections;

/// <summary>
/// Divides the operations that the endpoint may have outstanding among the peers, so that a peer that hangs leaves
/// enough for the others.
/// </summary>
/// <remarks>
/// <para>
/// With n peers, each may have a share of 1/(n + 1), at least one operation, so that a new peer always finds places.
/// Peers are distinguished by their endpoint's address, not by their own claims: writes to an address only use the
/// places of that address.
/// </para>
/// <para>
/// A connection that finds no place waits for the end of an operation: of the same peer if that peer's share is used
/// up, otherwise of any peer. This type is not notified when the application's own operations on the endpoint end, so a
/// timer also checks. Connections are served on the thread pool, never in the call that ends an operation, and each at
/// most once per round.
/// </para>
/// </remarks>
internal sealed class OperationShares : IDisposable
{
    /// <summary>How often waiting connections try again, because code other than connections may use the places.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    private readonly RmaEndpoint _endpoint;
    private readonly int _places;
    private readonly Dictionary<object, PeerShare> _peers = [];
    private readonly WaitingConnections _waiting = new(static () => true);
    private readonly ITimer _timer;
    private int _limit;
    private int _isTimed;

    /// <param name="endpoint">The endpoint.</param>
    /// <param name="time">The clock.</param>
    public OperationShares(RmaEndpoint endpoint, TimeProvider time)
    {
        _endpoint = endpoint;
        _places = _limit = endpoint.MaxOutstanding;
        _timer = time.CreateTimer(static shares => ((OperationShares)shares!).LookAgain(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Called when a connection to a peer begins.</summary>
    public PeerShare Join(RmaPeer peer)
    {
        object entry = peer.Entry!;
        lock (_peers)
        {
            if (!_peers.TryGetValue(entry, out PeerShare? share))
                _peers[entry] = share = new PeerShare(entry, this);
            share.Connections++;
            SetLimit_NeedsLock();
            return share;
        }
    }

    /// <summary>Called when a connection to a peer has ended.</summary>
    public void Leave(PeerShare share)
    {
        lock (_peers)
        {
            if (--share.Connections == 0)
                _peers.Remove(share.Peer);
            SetLimit_NeedsLock();
        }
    }

    /// <summary>Starts an operation.</summary>
    /// <returns>False if there is no place for it now: the caller must call <see cref="RetryLater"/>.</returns>
    public bool TryStart(PeerShare share, in RmaOperation operation, IOperationOwner owner)
    {
        if (!TryTake(share))
            return false;
        bool isStarted = false;
        try
        {
            return isStarted = _endpoint.TryStart(operation, owner);
        }
        finally
        {
            if (!isStarted)
                GiveBack(share);
        }
    }

    /// <summary>Counts an operation that could not be started as running, because its end is reported like that of any other.</summary>
    public static void NoteRefused(PeerShare share) => Interlocked.Increment(ref share.Running);

    /// <summary>Called when an operation has ended, so that a waiting one may find a place.</summary>
    public void OnEnded(PeerShare share)
    {
        GiveBack(share);
        _waiting.ServeLater();
    }

    /// <summary>Makes a connection that found no place try again.</summary>
    public void RetryLater(RmaConnection connection, PeerShare share)
    {
        if (!HasRoom(share))
        {
            share.Waiting.Add(connection);
            Fence.Full();
            // Operations that ended meanwhile did not see it.
            if (HasRoom(share))
                share.Waiting.ServeLater();
            return;
        }
        _waiting.Add(connection);
        if (Interlocked.Exchange(ref _isTimed, 1) == 0)
            _timer.Change(Pause, Timeout.InfiniteTimeSpan);
    }

    public void Dispose() => _timer.Dispose();

    /// <summary>
    /// Takes a place. It must never take more than there are, not even for a moment: a waiting operation would find
    /// none, while no operation is in flight whose end would wake it.
    /// </summary>
    private bool TryTake(PeerShare share)
    {
        int running = Volatile.Read(ref share.Running);
        while (running < Volatile.Read(ref _limit))
        {
            int before = Interlocked.CompareExchange(ref share.Running, running + 1, running);
            if (before == running)
                return true;
            running = before;
        }
        return false;
    }

    private static void GiveBack(PeerShare share)
    {
        Interlocked.Decrement(ref share.Running);
        Fence.AfterInterlocked();
        share.Waiting.ServeLater();
    }

    private bool HasRoom(PeerShare share) => Volatile.Read(ref share.Running) < Volatile.Read(ref _limit);

    private void SetLimit_NeedsLock() => Volatile.Write(ref _limit, Math.Max(1, _places / (_peers.Count + 1)));

    private void LookAgain()
    {
        Interlocked.Exchange(ref _isTimed, 0);
        _waiting.ServeLater();
    }

    /// <summary>The share of one peer.</summary>
    internal sealed class PeerShare
    {
        /// <summary>Operations that were started and have not ended.</summary>
        public int Running;

        public PeerShare(object peer, OperationShares shares)
        {
            Peer = peer;
            Waiting = new WaitingConnections(() => shares.HasRoom(this));
        }

        public object Peer { get; }

        /// <summary>The number of its connections.</summary>
        public int Connections { get; set; }

        public WaitingConnections Waiting { get; }
    }

    /// <summary>Connections that found no place, in order of arrival.</summary>
    /// <param name="hasRoom">Whether it is useful to serve another one.</param>
    internal sealed class WaitingConnections(Func<bool> hasRoom) : IThreadPoolWorkItem
    {
        private readonly ConcurrentQueue<RmaConnection> _queue = new();
        private readonly ConcurrentDictionary<RmaConnection, bool> _queued = new();
        private int _isScheduled;

        public void Add(RmaConnection connection)
        {
            if (_queued.TryAdd(connection, true))
                _queue.Enqueue(connection);
        }

        /// <summary>Serves them on the thread pool, if there are any.</summary>
        public void ServeLater()
        {
            if (!_queue.IsEmpty && Interlocked.Exchange(ref _isScheduled, 1) == 0)
                ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }

        void IThreadPoolWorkItem.Execute()
        {
            // From here on another round may be scheduled, which sees what this one does not.
            Interlocked.Exchange(ref _isScheduled, 0);
            for (int left = _queue.Count; left > 0 && hasRoom() && _queue.TryDequeue(out RmaConnection? connection); left--)
            {
                _queued.TryRemove(connection, out _);
                connection.Retry();
            }
        }
    }
}
