using AllocTools.Endpoints;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The same loops with tasks, as an application awaits them.</summary>
internal sealed class TaskLoops(LoopEndpoint endpoint, int window)
{
    private readonly ValueTask[] _outstanding = new ValueTask[window];

    // After this many operations, the first awaits that may suspend are over: these allocate the task of the run itself, some 200 bytes.
    private readonly int _settled = 2 * window;
    private long _before;
    private RmaBatch? _batch;
    private IAsyncEnumerator<RmaNotification>? _notifications;

    /// <summary>The bytes that the operations of the last run have allocated, on all threads.</summary>
    public long AllocatedBytes { get; private set; }

    /// <summary>The latencies of the last run, if its operations ran one after the other.</summary>
    public Latencies Latencies { get; } = new();

    /// <summary>Writes, and awaits the writes in the order in which they were started.</summary>
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
        Latencies.Start(operations);
        for (int i = 0; i < operations; i++)
        {
            CountFrom(i);
            ValueTask<RmaReceiveResult> answer = endpoint.ReceiveAsync(PingPongLoop.ReceiveSlot);
            await endpoint.SendAsync(PingPongLoop.SendSlot).ConfigureAwait(false);
            await answer.ConfigureAwait(false);
            Latencies.Add();
        }
        CountTo(operations);
    }

    public async Task NotifiedPingPongAsync(int operations)
    {
        _notifications ??= endpoint.Endpoint.ReadNotificationsAsync().GetAsyncEnumerator();
        Latencies.Start(operations);
        for (int i = 0; i < operations; i++)
        {
            CountFrom(i);
            await endpoint.NotifyAsync(PingPongLoop.SendSlot).ConfigureAwait(false);
            await _notifications.MoveNextAsync().ConfigureAwait(false);
            Latencies.Add();
        }
        CountTo(operations);
    }

    /// <summary>Answers each notification, until the endpoint is closed.</summary>
    public async Task AnswerNotificationsAsync()
    {
        await foreach (RmaNotification _ in endpoint.Endpoint.ReadNotificationsAsync().ConfigureAwait(false))
            await endpoint.NotifyAsync(PingPongLoop.SendSlot).ConfigureAwait(false);
    }

    /// <summary>Answers each message, until the endpoint is closed.</summary>
    public async Task AnswerAsync()
    {
        ValueTask<RmaReceiveResult> message = endpoint.ReceiveAsync(PingPongLoop.ReceiveSlot, Timeout.InfiniteTimeSpan);
        while (true)
        {
            await message.ConfigureAwait(false);
            message = endpoint.ReceiveAsync(PingPongLoop.ReceiveSlot, Timeout.InfiniteTimeSpan);
            await endpoint.SendAsync(PingPongLoop.SendSlot).ConfigureAwait(false);
        }
    }

    /// <summary>Like <see cref="WriteAsync"/>, but with one outstanding write.</summary>
    public async Task AwaitedWriteAsync(int operations)
    {
        Latencies.Start(operations);
        for (int i = 0; i < operations; i++)
        {
            CountFrom(i);
            await endpoint.WriteAsync(slot: 0).ConfigureAwait(false);
            Latencies.Add();
        }
        CountTo(operations);
    }

    /// <summary>Writes from tasks of the thread pool, each with one outstanding write.</summary>
    public async Task WriteByTasksAsync(int operations)
    {
        _before = GC.GetTotalAllocatedBytes(precise: true);
        await Task.WhenAll(Enumerable.Range(0, window).Select(slot => Task.Run(async () =>
        {
            for (int i = slot; i < operations; i += window)
                await endpoint.WriteAsync(slot).ConfigureAwait(false);
        }))).ConfigureAwait(false);
        AllocatedBytes = GC.GetTotalAllocatedBytes(precise: true) - _before;
    }

    /// <summary>Runs batches; each operation is a batch.</summary>
    public async Task BatchAsync(int operations)
    {
        _batch ??= endpoint.CreateBatch(window);
        _before = GC.GetTotalAllocatedBytes(precise: true);
        for (int i = 0; i < operations; i++)
            await _batch.RunAsync().ConfigureAwait(false);
        AllocatedBytes = GC.GetTotalAllocatedBytes(precise: true) - _before;
    }

    private void CountFrom(int operation)
    {
        if (operation == _settled)
            _before = GC.GetTotalAllocatedBytes(precise: true);
    }

    private void CountTo(int operations) =>
        AllocatedBytes = operations > _settled ? GC.GetTotalAllocatedBytes(precise: true) - _before : 0;
}
