namespace AllocTools.Endpoints.Engine;

/// <summary>Checks the peers of a context's endpoints periodically, with one timer for all of them.</summary>
/// <param name="time">The clock.</param>
/// <param name="onFailure">Reports an exception of a check. Other checks continue, and this one runs again in the next round.</param>
internal sealed class PeerWatch(TimeProvider time, Action<Exception> onFailure)
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private readonly Lock _gate = new();
    private readonly Lock _looking = new();
    private Action[] _looks = [];
    private ITimer? _timer;

    /// <summary>Adds a check that is called once per period, until it is removed.</summary>
    public void Add(Action look)
    {
        lock (_gate)
        {
            _looks = [.. _looks, look];
            _timer ??= time.CreateTimer(static watch => ((PeerWatch)watch!).Look(), this, Period, Period);
        }
    }

    /// <summary>Removes a check; it is not called any more once this returns.</summary>
    public void Remove(Action look)
    {
        lock (_gate)
        {
            _looks = [.. _looks.Where(l => l != look)];
            if (_looks.Length == 0)
            {
                _timer?.Dispose();
                _timer = null;
            }
        }
        // A running round may still have it.
        lock (_looking)
        {
        }
    }

    private void Look()
    {
        // If a round is late, the next one may begin at the same time.
        if (!_looking.TryEnter())
            return;
        try
        {
            foreach (Action look in Volatile.Read(ref _looks))
                Guard(look);
        }
        finally
        {
            _looking.Exit();
        }
    }

    private void Guard(Action look)
    {
        try
        {
            look();
        }
        catch (Exception e)
        {
            // All exceptions are caught, because on a timer's thread they would end the process.
            onFailure(e);
        }
    }
}
