using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;

namespace AllocTools.MultiRail;

/// <summary>A rail to one peer. It carries stripes while it is up, and is retried after growing delays while it is down.</summary>
internal sealed class RailLink : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly RmaMultiRail _owner;
    private readonly RmaRailPeer _peer;
    private readonly RailForm.Rail _remote;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationToken _stopped;
    private RailSession? _session;
    private Task _recovering = Task.CompletedTask;
    private long _upSince;
    private int _failures;
    private int _outstanding;

    /// <param name="owner">The multi-rail.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="rail">The index of the rail.</param>
    /// <param name="remote">The peer's end.</param>
    public RailLink(RmaMultiRail owner, RmaRailPeer peer, int rail, RailForm.Rail remote)
    {
        _owner = owner;
        _peer = peer;
        _remote = remote;
        Rail = rail;
        _stopped = _stopping.Token;
        _upSince = owner.Time.GetTimestamp();
        try
        {
            _session = new RailSession(owner.Rails[rail].Pool, remote.Address);
        }
        catch (RmaException e)
        {
            OpenError = e;
        }
    }

    /// <summary>Why the link was not up from the start; null if it was.</summary>
    public RmaException? OpenError { get; }

    /// <summary>The index of its rail.</summary>
    public int Rail { get; }

    public string Name => _remote.Name;

    /// <summary>The current session; null while the link is down.</summary>
    public RailSession? Session => Volatile.Read(ref _session);

    /// <summary>Takes one of the link's places for stripes, which all transfers share.</summary>
    /// <returns>False if all places are taken; <see cref="RmaRailPeer.Change"/> completes when one is returned.</returns>
    public bool TryTakePlace()
    {
        // An increment that is undone would briefly look like a taken place, and then like a returned one.
        int taken = Volatile.Read(ref _outstanding);
        while (taken < _owner.Options.StripesPerRail)
        {
            int before = Interlocked.CompareExchange(ref _outstanding, taken + 1, taken);
            if (before == taken)
                return true;
            taken = before;
        }
        return false;
    }

    public void ReturnPlace()
    {
        Interlocked.Decrement(ref _outstanding);
        _peer.NoteChange();
    }

    /// <summary>Starts the attempts to open a link that was not up from the start.</summary>
    public void StartDown(string reason)
    {
        lock (_gate)
        {
            if (_stopped.IsCancellationRequested)
                return;
            _owner.Report(this, _peer, RmaRailState.Down, reason);
            _recovering = RecoverAsync(Task.CompletedTask);
        }
        Log.RailDown(_owner.Logger, _owner.Name, Name, reason);
    }

    /// <summary>Gives up a session: it is closed, and a new one is tried later. Only the first call for a session has an effect.</summary>
    public void Fail(RailSession session, string reason)
    {
        lock (_gate)
        {
            // A closed link has no session.
            if (_session != session)
                return;
            Volatile.Write(ref _session, null);
            // A link that fails again soon after it came up keeps its delay growing.
            if (_owner.Time.GetElapsedTime(_upSince) > _owner.Options.MaxDelay)
                _failures = 0;
            Task closed = session.CloseAsync();
            _owner.Report(this, _peer, RmaRailState.Down, reason);
            _recovering = RecoverAsync(closed);
        }
        Log.RailDown(_owner.Logger, _owner.Name, Name, reason);
    }

    /// <summary>Closes the link. Called once.</summary>
    public async ValueTask DisposeAsync()
    {
        RailSession? last;
        Task recovering;
        lock (_gate)
        {
            _stopping.Cancel();
            last = _session;
            Volatile.Write(ref _session, null);
            recovering = _recovering;
        }
        if (last is not null)
            await last.CloseAsync().ConfigureAwait(false);
        await recovering.ConfigureAwait(false);
        _stopping.Dispose();
    }

    private async Task RecoverAsync(Task closed)
    {
        await Task.Yield();
        await closed.ConfigureAwait(false);
        RmaMultiRailOptions options = _owner.Options;
        Type? logged = null;
        try
        {
            while (true)
            {
                await Task.Delay(ExponentialBackoff.After(++_failures, options.Delay, options.MaxDelay), _owner.Time, _stopped).ConfigureAwait(false);
                try
                {
                    await OpenAsync(_owner.Rails[Rail].Pool, options.StripeTimeout).ConfigureAwait(false);
                    return;
                }
                catch (RmaException)
                {
                    // The peer does not answer, or this side lacks memory or descriptors: try again after the next delay.
                }
                catch (Exception e) when (e is not OperationCanceledException || !_stopped.IsCancellationRequested)
                {
                    // The rail's pool or context was closed, or its provider has a bug. Repeated errors of the same type are logged once.
                    if (logged != e.GetType())
                        Log.RailNotTried(_owner.Logger, e, _owner.Name, Name);
                    logged = e.GetType();
                }
            }
        }
        catch (OperationCanceledException) when (_stopped.IsCancellationRequested)
        {
            // The link is closed.
        }
    }

    /// <summary>Opens a new session, and uses it once it has read the peer's word.</summary>
    private async Task OpenAsync(IRmaMemoryPool pool, TimeSpan timeout)
    {
        RailSession? session = new(pool, _remote.Address);
        try
        {
            await session.ProbeAsync(pool, _remote.Memory, timeout, _stopped).ConfigureAwait(false);
            lock (_gate)
            {
                _stopped.ThrowIfCancellationRequested();
                _upSince = _owner.Time.GetTimestamp();
                Volatile.Write(ref _session, session);
                session = null;
                _owner.Report(this, _peer, RmaRailState.Up, "its peer answers again");
            }
            Log.RailUp(_owner.Logger, _owner.Name, Name);
        }
        finally
        {
            if (session is not null)
                await session.CloseAsync().ConfigureAwait(false);
        }
    }
}
