using AllocTools.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Monitors an endpoint's thread. If one of its calls into the transport does not return, operations still time out and can be cancelled.
/// </summary>
/// <remarks>
/// Processes that use shm lock each other's memory by spinning; one that is killed at the wrong moment leaves a locked
/// lock behind.
/// </remarks>
internal sealed class StuckTurnWatch : IDisposable
{
    /// <summary>The number of consecutive checks that must see the same turn before overdue operations are ended without it.</summary>
    private const int Looks = 3;

    /// <summary>
    /// The number of checks before the turn is reported as stuck. On a busy machine, a thread may lack a processor for
    /// longer than the checks above take.
    /// </summary>
    private const int LooksToReport = 9;

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    /// <summary>The period while no endpoint has a turn.</summary>
    private static readonly TimeSpan RestingPeriod = TimeSpan.FromSeconds(1);

    /// <summary>The shortest duration of a turn that is reported as stuck.</summary>
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
    /// <param name="health">Receives the reports.</param>
    /// <param name="explain">Explains what a call that does not return may be waiting for.</param>
    public StuckTurnWatch(EndpointProgress progress, EndpointHealth health, Func<string> explain)
    {
        _explain = explain;
        _progress = progress;
        _health = health;
        health.StuckTurns.Add(this);
    }

    /// <summary>Whether a call into the transport has not returned.</summary>
    public bool IsStuck => Volatile.Read(ref _said) == 1;

    /// <summary>Ends the monitoring, and waits for a running check, which is short.</summary>
    public void Dispose()
    {
        _health.StuckTurns.Remove(this);
        lock (_gate)
            _ended = true;
    }

    /// <summary>Called when the stuck call has returned.</summary>
    public void Settle()
    {
        if (Interlocked.Exchange(ref _said, 0) == 1)
            _health.ReportReturned();
    }

    /// <returns>Whether a thread has the turn, which may be stuck.</returns>
    private bool Look()
    {
        // If a check is late, the next one may begin at the same time.
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
            // All exceptions are caught, because on a timer's thread they would end the process.
            _health.ReportUnexpected("looking after its thread", e);
            return true;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>
    /// Whether the same turn was seen by several checks. Checks are counted instead of time, so that a turn is not reported
    /// as stuck because the process or the machine was suspended: a missed check then runs with the next, and both count as one.
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
    /// Runs the checks of a context's endpoints with one timer, because a hundred timers would wake the process 400 times a
    /// second. It runs rarely while all endpoints are idle and none has a turn. Once a check finds a turn, checks run every
    /// <see cref="Period"/> again, which detects a stuck one.
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
