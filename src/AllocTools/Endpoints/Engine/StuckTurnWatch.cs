using AllocTools.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Looks after an endpoint's thread: where a call of it into the transport does not return, operations time out and are
/// cancelled all the same.
/// </summary>
/// <remarks>shm's processes lock each other's memory by spinning; one that is killed at the wrong moment leaves a lock behind.</remarks>
internal sealed class StuckTurnWatch : IDisposable
{
    /// <summary>How many looks in a row see a turn before what is overdue ends without it.</summary>
    private const int Looks = 3;

    /// <summary>How many see it before it is reported as stuck: a busy machine may leave a thread without a processor for longer than the looks above.</summary>
    private const int LooksToReport = 9;

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    /// <summary>While no endpoint has a turn.</summary>
    private static readonly TimeSpan RestingPeriod = TimeSpan.FromSeconds(1);

    /// <summary>How long a turn takes, at least, that is reported as stuck.</summary>
    private static readonly TimeSpan Limit = (LooksToReport - 1) * Period;

    private readonly EndpointProgress _progress;
    private readonly EndpointHealth _health;
    private readonly Func<string> _explain;
    private readonly Lock _gate = new();
    private bool _ended;
    private long _turn = ProgressTurn.Nobody;
    private long _lastLook;
    private int _looks;
    private int _said;

    /// <param name="progress">The endpoint's progress.</param>
    /// <param name="health">Where it is reported.</param>
    /// <param name="explain">Says what a call that does not return may wait for.</param>
    public StuckTurnWatch(EndpointProgress progress, EndpointHealth health, Func<string> explain)
    {
        _explain = explain;
        _progress = progress;
        _health = health;
        health.StuckTurns.Add(this);
    }

    /// <summary>A call into the transport has not returned.</summary>
    public bool IsStuck => Volatile.Read(ref _said) == 1;

    /// <summary>Ends it, and waits for a look that runs: such a look is short.</summary>
    public void Dispose()
    {
        _health.StuckTurns.Remove(this);
        lock (_gate)
            _ended = true;
    }

    /// <summary>Whatever was stuck has returned.</summary>
    public void Settle()
    {
        if (Interlocked.Exchange(ref _said, 0) == 1)
            _health.ReportReturned();
    }

    /// <returns>Somebody has the turn, which may be stuck.</returns>
    private bool Look()
    {
        // Where a look is late another may begin beside it.
        if (!_gate.TryEnter())
            return true;
        try
        {
            if (_ended)
                return false;
            if (!HasStuckTurn())
                return _turn != ProgressTurn.Nobody;
            if (_looks >= LooksToReport && Interlocked.Exchange(ref _said, 1) == 0)
            {
                string reasons = _explain();
                _health.ReportStuck(reasons);
                if (_progress.IsContinuing)
                    Log.ContinuationStuck(_health.Logger, _health.Provider, Limit.TotalMilliseconds);
                else
                    Log.ProgressStuck(_health.Logger, _health.Provider, Limit.TotalMilliseconds, reasons);
            }
            _progress.EndOverdueWithoutTurn();
            return true;
        }
        catch (Exception e)
        {
            // Of whatever kind: on a timer's thread it would end the process.
            _health.ReportUnexpected("looking after its thread", e);
            return true;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>
    /// Looks are counted, not the time a turn takes: a process or machine that was suspended has no turn that is stuck.
    /// The look that it missed then comes with the next one, and both count as one.
    /// </summary>
    private bool HasStuckTurn()
    {
        long now = _health.Time.GetTimestamp();
        long turn = _progress.TurnStart;
        if (turn == ProgressTurn.Nobody || turn != _turn)
        {
            _turn = turn;
            _looks = 1;
            _lastLook = now;
            Settle();
            return false;
        }
        if (_health.Time.GetElapsedTime(_lastLook, now) >= Period / 2)
        {
            _looks++;
            _lastLook = now;
        }
        return _looks >= Looks;
    }

    /// <summary>
    /// Has the watches of a context's endpoints look, by one timer: a hundred would wake the process 400 times a second.
    /// It rests where no endpoint has a turn, as all are idle; a turn that is stuck is then seen by the next look, and looked at every <see cref="Period"/>.
    /// </summary>
    internal sealed class Rounds(TimeProvider time)
    {
        private readonly Lock _gate = new();
        private StuckTurnWatch[] _watches = [];
        private ITimer? _timer;
        private bool _rests;

        public void Add(StuckTurnWatch watch)
        {
            lock (_gate)
            {
                _watches = [.. _watches, watch];
                if (_timer is not null)
                    return;
                _rests = false;
                _timer = time.CreateTimer(static rounds => ((Rounds)rounds!).Look(), this, Period, Period);
            }
        }

        public void Remove(StuckTurnWatch watch)
        {
            lock (_gate)
            {
                _watches = [.. _watches.Where(w => w != watch)];
                if (_watches.Length > 0)
                    return;
                _timer?.Dispose();
                _timer = null;
            }
        }

        private void Look()
        {
            bool rests = true;
            foreach (StuckTurnWatch watch in Volatile.Read(ref _watches))
                rests &= !watch.Look();
            lock (_gate)
            {
                if (rests == _rests || _timer is null)
                    return;
                _rests = rests;
                TimeSpan period = rests ? RestingPeriod : Period;
                _timer.Change(period, period);
            }
        }
    }
}
