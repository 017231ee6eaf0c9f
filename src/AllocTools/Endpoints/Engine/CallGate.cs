namespace AllocTools.Endpoints.Engine;

/// <summary>Prevents an object from being closed while calls run in it.</summary>
internal sealed class CallGate
{
    private const int ClosedBit = 1 << 30;

    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _calls;

    /// <summary>Begins a call. Returns false if the gate is closed.</summary>
    public bool TryEnter()
    {
        if ((Interlocked.Increment(ref _calls) & ClosedBit) == 0)
            return true;
        Exit();
        return false;
    }

    public void Exit()
    {
        // This may happen more than once, because a call that is refused also decrements the count.
        if (Interlocked.Decrement(ref _calls) == ClosedBit)
            _empty.TrySetResult();
    }

    /// <summary>Whether calls are refused.</summary>
    public bool IsClosed => (Volatile.Read(ref _calls) & ClosedBit) != 0;

    /// <summary>Completes when the gate is closed and the last call has ended.</summary>
    public Task Empty => _empty.Task;

    /// <summary>Refuses further calls. Returns false if another thread has already closed the gate.</summary>
    public bool TryClose()
    {
        int before = Interlocked.Or(ref _calls, ClosedBit);
        if ((before & ClosedBit) != 0)
            return false;
        if (before == 0)
            _empty.TrySetResult();
        return true;
    }
}
