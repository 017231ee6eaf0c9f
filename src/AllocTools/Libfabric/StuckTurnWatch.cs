using AllocTools.Diagnostics;

namespace AllocTools.Libfabric;

/// <summary>
/// Looks after an endpoint's thread: where a call of it into the transport does not return, operations time out and are
/// cancelled all the same.
/// </summary>
/// <remarks>shm's processes lock each other's memory by spinning; one that is killed at the wrong moment leaves a lock behind.</remarks>
internal sealed class StuckTurnWatch : IDisposable
{
    /// <summary>How long a turn may take before it counts as stuck.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private readonly EndpointProgress _progress;
    private readonly LibfabricContext _context;
    private readonly ITimer _timer;
    private int _said;

    public StuckTurnWatch(EndpointProgress progress, LibfabricContext context, TimeProvider time)
    {
        _progress = progress;
        _context = context;
        _timer = time.CreateTimer(static watch => ((StuckTurnWatch)watch!).Look(), this, Period, Period);
    }

    /// <summary>Ends it, and waits for a look that runs: it waits for nobody.</summary>
    public void Dispose() => _timer.DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <summary>Whatever was stuck has returned.</summary>
    public void Settle()
    {
        if (Interlocked.Exchange(ref _said, 0) == 1)
            _context.ReportStuck(isStuck: false);
    }

    private void Look()
    {
        if (!_progress.IsStuck(Limit))
        {
            Settle();
            return;
        }
        if (Interlocked.Exchange(ref _said, 1) == 0)
        {
            _context.ReportStuck(isStuck: true);
            Log.ProgressStuck(_context.Logger, _context.Traits.ProviderName, Limit.TotalMilliseconds);
        }
        _progress.EndOverdueWithoutTurn();
    }
}
