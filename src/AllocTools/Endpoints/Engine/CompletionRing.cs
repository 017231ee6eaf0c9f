namespace AllocTools.Endpoints.Engine;

/// <summary>Keeps the completions of operations without a task until <see cref="IRmaEndpoint.Poll"/> takes them.</summary>
/// <remarks>The lock spins, because it is held only for a copy and is hardly ever contended.</remarks>
internal sealed class CompletionRing(int capacity)
{
    private readonly RmaCompletion[] _ring = new RmaCompletion[capacity];
    private SpinLock _gate = new(enableThreadOwnerTracking: false);
    private int _head;
    private int _count;

    public void Add(in RmaCompletion completion)
    {
        bool isTaken = false;
        _gate.Enter(ref isTaken);
        // There is always room, because each operation was counted when it was posted.
        int at = _head + _count;
        _ring[at < _ring.Length ? at : at - _ring.Length] = completion;
        _count++;
        _gate.Exit(useMemoryBarrier: false);
    }

    public int Take(Span<RmaCompletion> completions)
    {
        if (Volatile.Read(ref _count) == 0)
            return 0;
        bool isTaken = false;
        _gate.Enter(ref isTaken);
        int taken = Math.Min(completions.Length, _count);
        for (int i = 0; i < taken; i++)
        {
            completions[i] = _ring[_head];
            if (++_head == _ring.Length)
                _head = 0;
        }
        _count -= taken;
        _gate.Exit(useMemoryBarrier: false);
        return taken;
    }
}
