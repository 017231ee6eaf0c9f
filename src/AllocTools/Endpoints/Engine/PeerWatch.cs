namespace AllocTools.Endpoints.Engine;

/// <summary>Looks after the peers of a context's endpoints now and then, by one timer for all of them.</summary>
/// <param name="time">The clock.</param>
/// <param name="onFailure">Reports what a look throws: the others' looks go on, and so does its own at the next round.</param>
internal sealed class PeerWatch(TimeProvider time, Action<Exception> onFailure)
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private readonly Lock _gate = new();
    private readonly Lock _looking = new();
    private Action[] _looks = [];
    private ITimer? _timer;

    /// <summary>From now on it is called once a period, until it is removed.</summary>
    public void Add(Action look)
    {
        lock (_gate)
        {
            _looks = [.. _looks, look];
            _timer ??= time.CreateTimer(static watch => ((PeerWatch)watch!).Look(), this, Period, Period);
        }
    }

    /// <summary>It is not called any more once this returns.</summary>
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
        // A round that runs may have it still.
        lock (_looking)
        {
        }
    }

    private void Look()
    {
        // Where a round is late another may begin beside it.
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
            // Of whatever kind: on a timer's thread it would end the process.
            onFailure(e);
        }
    }
}
