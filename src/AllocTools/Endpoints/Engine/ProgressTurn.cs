namespace AllocTools.Endpoints.Engine;

/// <summary>The right to make progress, which one thread has at a time.</summary>
internal sealed class ProgressTurn
{
    /// <summary>The value of Start while no thread has the turn.</summary>
    public const long Nobody = long.MaxValue;

    private int _taken;
    private long _start = Nobody;

    /// <summary>When the current holder took the turn, as a timestamp; <see cref="Nobody"/> if no thread has it.</summary>
    public long Start => Volatile.Read(ref _start);

    /// <summary>Takes the turn, unless another thread has it.</summary>
    /// <param name="now">The current timestamp; 0 if the turn is not monitored.</param>
    public bool TryTake(long now)
    {
        if (Interlocked.CompareExchange(ref _taken, 1, 0) != 0)
            return false;
        Volatile.Write(ref _start, now);
        return true;
    }

    /// <summary>Takes a turn that is not monitored, spinning until it is free.</summary>
    public void Take()
    {
        SpinWait spin = default;
        while (!TryTake(0))
            spin.SpinOnce(sleep1Threshold: -1);
    }

    public void Release()
    {
        Volatile.Write(ref _start, Nobody);
        Volatile.Write(ref _taken, 0);
    }
}
