namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The same by tasks, which the endpoint's own thread ends: what a thread hop costs.</summary>
internal sealed class TaskLoops(LoopEndpoint endpoint, int window)
{
    private readonly ValueTask[] _outstanding = new ValueTask[window];

    // The first awaits that may suspend are behind it: a run's own task, some 200 bytes, is allocated.
    private readonly int _settled = 2 * window;
    private long _before;

    /// <summary>Bytes that the operations of the last run have allocated, on all threads.</summary>
    public long AllocatedBytes { get; private set; }

    /// <summary>Writes; awaits them in the order they were started.</summary>
    public async Task WriteAsync(int operations)
    {
        for (int i = 0; i < operations; i++)
        {
            CountFrom(i);
            int slot = i % _outstanding.Length;
            await _outstanding[slot].ConfigureAwait(false);
#pragma warning disable CA2012 // each is awaited once, before its place is used again
            _outstanding[slot] = endpoint.WriteAsync(slot);
#pragma warning restore CA2012
        }
        for (int slot = 0; slot < _outstanding.Length; slot++)
        {
            await _outstanding[slot].ConfigureAwait(false);
            _outstanding[slot] = default;
        }
        CountTo(operations);
    }

    public async Task PingPongAsync(int operations)
    {
        for (int i = 0; i < operations; i++)
        {
            CountFrom(i);
            ValueTask<long> answer = endpoint.ReceiveAsync(PingPongLoop.ReceiveSlot);
            await endpoint.SendAsync(PingPongLoop.SendSlot).ConfigureAwait(false);
            await answer.ConfigureAwait(false);
        }
        CountTo(operations);
    }

    private void CountFrom(int operation)
    {
        if (operation == _settled)
            _before = GC.GetTotalAllocatedBytes(precise: true);
    }

    private void CountTo(int operations) =>
        AllocatedBytes = operations > _settled ? GC.GetTotalAllocatedBytes(precise: true) - _before : 0;
}
