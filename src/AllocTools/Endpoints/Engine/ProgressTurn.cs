namespace AllocTools.Endpoints.Engine;

/// <summary>The right to make progress; one has it at a time.</summary>
internal sealed class ProgressTurn
{
    /// <summary>The start of a turn that nobody has.</summary>
    public const long Nobody = long.MaxValue;

    private int _taken;
    private long _start = Nobody;

    /// <summary>When whoever has the turn took it, as a timestamp; <see cref="Nobody"/> where nobody has it.</summary>
    public long Start => Volatile.Read(ref _start);

    /// <summary>Takes the turn where nobody has it.</summary>
    /// <param name="now">The present timestamp; 0 where nobody watches the turn.</param>
    public bool TryTake(long now)
    {
        if (Interlocked.CompareExchange(ref _taken, 1, 0) != 0)
            return false;
        Volatile.Write(ref _start, now);
        return true;
    }

    /// <summary>Takes the turn where nobody watches it, spinning until it is free.</summary>
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
