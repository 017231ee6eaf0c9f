using AllocTools.Scale.Simulation;

namespace AllocTools.Scale.Scenes;

/// <summary>A pool at its cap, with N waiting requests.</summary>
internal abstract class WaiterScene : IScene
{
    protected const int Blocks = 64;
    protected static readonly TimeSpan RentTimeout = TimeSpan.FromSeconds(30);

    private readonly RmaMemoryPool<SimulatedProvider> _pool;
    private readonly Queue<RmaBuffer> _rented = new();

    protected WaiterScene(Machine machine)
    {
        Machine = machine;
        _pool = machine.NewPool(static o =>
        {
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Machine.Small });
            o.MaxRegisteredBytes = Blocks * Machine.Small;
            o.MaxSlabBytes = 65_536;
            o.RentTimeout = RentTimeout;
        });
        for (int i = 0; i < Blocks; i++)
            _rented.Enqueue(_pool.Rent(Machine.Small));
    }

    protected Machine Machine { get; }

    protected Queue<RmaBuffer> Rented => _rented;

    public virtual void Prepare()
    {
    }

    public abstract int Run();

    public virtual void Dispose()
    {
        while (_rented.TryDequeue(out RmaBuffer buffer))
            buffer.Dispose();
        _pool.Dispose();
    }

    protected Task<RmaBuffer> Wait(CancellationToken cancellationToken = default) => _pool.RentAsync(Machine.Small, cancellationToken).AsTask();

    /// <summary>Waits until a number of requests wait in line.</summary>
    protected void AwaitLine(int count)
    {
        if (!SpinWait.SpinUntil(() => _pool.GetStatistics().PendingRequests == count, TimeSpan.FromMinutes(2)))
            throw new TimeoutException($"{_pool.GetStatistics().PendingRequests} requests are in line; there must be {count}.");
    }
}

internal sealed class ServedWaiters : WaiterScene, INamedScene
{
    private readonly Queue<Task<RmaBuffer>> _line = new();

    private ServedWaiters(Machine machine)
        : base(machine)
    {
    }

    static string INamedScene.Name => "wait in line, be served by a return";

    static string INamedScene.Among => "waiters";

    static IScene INamedScene.Open(Machine machine) => new ServedWaiters(machine);

    public override void Prepare()
    {
        while (_line.Count < Machine.Size + Blocks)
            _line.Enqueue(Wait());
        AwaitLine(_line.Count);
    }

    public override int Run()
    {
        for (int i = 0; i < Blocks; i++)
            Rented.Dequeue().Dispose();
        for (int i = 0; i < Blocks; i++)
        {
            Task<RmaBuffer> served = _line.Dequeue();
            if (!served.IsCompletedSuccessfully)
                throw new InvalidOperationException("A return did not serve the first waiter.");
            Rented.Enqueue(served.Result);
        }
        return Blocks;
    }

    public override void Dispose()
    {
        while (Rented.TryDequeue(out RmaBuffer buffer))
        {
            buffer.Dispose();
            if (_line.TryDequeue(out Task<RmaBuffer>? served))
                Rented.Enqueue(served.Result);
        }
        base.Dispose();
    }
}

internal sealed class CancelledWaiters : WaiterScene, INamedScene
{
    private readonly List<(Task<RmaBuffer> Wait, CancellationTokenSource Cancellation)> _line = [];

    private CancelledWaiters(Machine machine)
        : base(machine)
    {
    }

    static string INamedScene.Name => "cancel a waiter in the middle of the line";

    static string INamedScene.Among => "waiters";

    static IScene INamedScene.Open(Machine machine) => new CancelledWaiters(machine);

    public override void Prepare()
    {
        while (_line.Count < Machine.Size + Blocks)
        {
            CancellationTokenSource cancellation = new();
            _line.Add((Wait(cancellation.Token), cancellation));
        }
        AwaitLine(_line.Count);
    }

    public override int Run()
    {
        for (int i = 0; i < Blocks; i++)
        {
            int at = Machine.Random.Next(_line.Count);
            Cancel(_line[at]);
            _line[at] = _line[^1];
            _line.RemoveAt(_line.Count - 1);
        }
        return Blocks;
    }

    public override void Dispose()
    {
        _line.ForEach(Cancel);
        base.Dispose();
    }

    private static void Cancel((Task<RmaBuffer> Wait, CancellationTokenSource Cancellation) waiter)
    {
        waiter.Cancellation.Cancel();
        if (!waiter.Wait.IsCanceled)
            throw new InvalidOperationException("A waiter that was cancelled still waits.");
        waiter.Cancellation.Dispose();
    }
}

internal sealed class LateWaiters : WaiterScene, INamedScene
{
    private readonly List<Task<RmaBuffer>> _line = [];

    private LateWaiters(Machine machine)
        : base(machine)
    {
    }

    static string INamedScene.Name => "wait in line, time out";

    static string INamedScene.Among => "waiters";

    static IScene INamedScene.Open(Machine machine) => new LateWaiters(machine);

    public override void Prepare()
    {
        _line.Clear();
        for (int i = 0; i < Machine.Size; i++)
        {
            _line.Add(Wait());
            Machine.Clock.Advance(TimeSpan.FromTicks(1));
        }
        AwaitLine(_line.Count);
    }

    public override int Run()
    {
        Machine.Clock.Advance(RentTimeout);
        if (!_line.TrueForAll(static w => w.IsFaulted))
            throw new InvalidOperationException("A waiter whose time is up still waits.");
        return _line.Count;
    }
}
