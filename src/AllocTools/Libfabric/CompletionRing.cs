namespace AllocTools.Libfabric;

/// <summary>Ends of operations without a task, until <see cref="IRmaEndpoint.Poll"/> takes them.</summary>
internal sealed class CompletionRing(int capacity)
{
    private readonly Lock _gate = new();
    private readonly RmaCompletion[] _ring = new RmaCompletion[capacity];
    private int _head;
    private int _count;

    public void Add(in RmaCompletion completion)
    {
        lock (_gate)
        {
            // There is room: each has counted itself in when it was posted.
            _ring[(_head + _count) % _ring.Length] = completion;
            _count++;
        }
    }

    public int Take(Span<RmaCompletion> completions)
    {
        if (Volatile.Read(ref _count) == 0)
            return 0;
        lock (_gate)
        {
            int taken = Math.Min(completions.Length, _count);
            for (int i = 0; i < taken; i++)
            {
                completions[i] = _ring[_head];
                _head = (_head + 1) % _ring.Length;
            }
            _count -= taken;
            return taken;
        }
    }
}
