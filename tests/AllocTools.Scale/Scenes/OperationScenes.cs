using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Scale.Simulation;

namespace AllocTools.Scale.Scenes;

internal sealed class Writing(Machine machine) : INamedScene
{
    private const int Operations = 2000;

    public static string Name => "write to one of the peers";

    public static string Among => "peers";

    public static IScene Open(Machine machine) => new Writing(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
        {
            machine.Write(machine.Random.Next(machine.Size));
            machine.Poll();
        }
        return Operations;
    }

    public void Dispose()
    {
    }
}

/// <summary>
/// Running operations, each with a different peer: up to the number that the endpoint accepts, minus some spare slots.
/// </summary>
internal abstract class RunningScene : IScene
{
    protected const string Running = "running operations";

    protected RunningScene(Machine machine, int spared)
    {
        Machine = machine;
        Operations = new int[Math.Min(machine.Size, machine.Slots - spared)];
    }

    protected Machine Machine { get; }

    /// <summary>The number of the operation with each peer.</summary>
    protected int[] Operations { get; }

    protected void Start(Conduct conduct)
    {
        Machine.Driver.Conduct = conduct;
        for (int i = 0; i < Operations.Length; i++)
            Operations[i] = Machine.Write(i);
    }

    protected void EndAll()
    {
        foreach (int operation in Operations)
            Machine.Driver.End(operation, 8);
        Machine.Poll();
        Machine.Driver.Conduct = Conduct.Ends;
    }

    /// <summary>Makes progress turns until operations with tasks have ended.</summary>
    protected void PollUntilEnded(Task[] operations)
    {
        var time = Stopwatch.StartNew();
        do
        {
            Machine.Poll();
            if (time.Elapsed > TimeSpan.FromMinutes(2))
                throw new TimeoutException($"{operations.Count(static o => !o.IsCompleted)} of {operations.Length} operations did not end.");
        }
        while (!Task.WaitAll(operations, TimeSpan.FromMilliseconds(1)));
    }

    public virtual void Prepare()
    {
    }

    public abstract int Run();

    public abstract void Dispose();
}

internal sealed class WritingAmongOthers : RunningScene, INamedScene
{
    private const int Writes = 1000;

    private WritingAmongOthers(Machine machine)
        : base(machine, spared: 1)
    {
        Start(Conduct.Stays);
        machine.Driver.Conduct = Conduct.Ends;
    }

    static string INamedScene.Name => "write while other operations run";

    static string INamedScene.Among => Running;

    static int INamedScene.Most => 65_535;

    static IScene INamedScene.Open(Machine machine) => new WritingAmongOthers(machine);

    public override int Run()
    {
        for (int i = 0; i < Writes; i++)
        {
            Machine.Write(Machine.Random.Next(Machine.Size));
            if (Machine.Poll() != 1)
                throw new InvalidOperationException("A write did not end.");
        }
        return Writes;
    }

    public override void Dispose() => EndAll();
}

/// <summary>Operations that time out one after the other, each in a progress turn of its own.</summary>
internal sealed class TimeOuts : RunningScene, INamedScene
{
    private static readonly TimeSpan Between = TimeSpan.FromTicks(10);

    private TimeOuts(Machine machine)
        : base(machine, spared: 0)
    {
    }

    static string INamedScene.Name => "time out";

    static string INamedScene.Among => Running;

    static int INamedScene.Most => 65_536;

    static IScene INamedScene.Open(Machine machine) => new TimeOuts(machine);

    public override void Prepare()
    {
        Machine.Driver.Conduct = Conduct.Stays;
        for (int i = 0; i < Operations.Length; i++)
        {
            Operations[i] = Machine.Write(i);
            Machine.Clock.Advance(Between);
        }
        // The first operation is due at the next step.
        Machine.Clock.Advance(Machine.OperationTimeout - (Between * (Operations.Length + 1)));
        if (Machine.Poll() != 0)
            throw new InvalidOperationException("An operation ended before its time.");
    }

    public override int Run()
    {
        int ended = 0;
        for (int i = 0; i < Operations.Length; i++)
        {
            Machine.Clock.Advance(Between);
            ended += Machine.Poll();
        }
        Machine.Clock.Advance(Between * 2);
        ended += Machine.Poll();
        return ended == Operations.Length ? ended : throw new InvalidOperationException($"{ended} of {Operations.Length} operations timed out.");
    }

    public override void Dispose() => Machine.Driver.Conduct = Conduct.Ends;
}

/// <summary>
/// Operations that the transport does not accept, each to a different peer. A progress turn offers each of them again.
/// </summary>
internal sealed class Retries : RunningScene, INamedScene
{
    private Task[] _waiting = [];

    private Retries(Machine machine)
        : base(machine, spared: 0)
    {
    }

    static string INamedScene.Name => "offer a waiting operation to the transport again";

    static string INamedScene.Among => "waiting operations";

    static int INamedScene.Most => 65_536;

    static IScene INamedScene.Open(Machine machine) => new Retries(machine);

    public override void Prepare()
    {
        if (_waiting.Length != 0)
            return;
        Machine.Driver.Conduct = Conduct.Full;
        // Only operations with tasks are queued.
        _waiting = [.. Enumerable.Range(0, Operations.Length).Select(i => Machine.Endpoint.WriteAsync(Machine.Message[..8], Machine.Regions[i].Slice(0, 8)).AsTask())];
    }

    public override int Run()
    {
        long before = Machine.Driver.Posts;
        Machine.Poll();
        return Machine.Driver.Posts - before == Operations.Length
            ? Operations.Length
            : throw new InvalidOperationException($"A turn offered {Machine.Driver.Posts - before} of {Operations.Length} operations.");
    }

    public override void Dispose()
    {
        Machine.Driver.Conduct = Conduct.Ends;
        PollUntilEnded(_waiting);
    }
}

/// <summary>Operations that find no slot, and wait for one.</summary>
internal sealed class SlotWaiters : RunningScene, INamedScene
{
    private const int Served = 100;

    private readonly Queue<Task> _line = new();
    private readonly Queue<int> _slots = new();
    private int _next;

    private SlotWaiters(Machine machine)
        : base(machine, spared: 0)
    {
        machine.Driver.Conduct = Conduct.Stays;
        for (int i = 0; i < machine.Slots; i++)
            _slots.Enqueue(machine.Write(i % machine.Size));
    }

    static string INamedScene.Name => "wait for a slot, get it";

    static string INamedScene.Among => "waiting operations";

    static IScene INamedScene.Open(Machine machine) => new SlotWaiters(machine);

    public override void Prepare()
    {
        while (_line.Count < Machine.Size + Served)
        {
            _next = (_next + 1) % Machine.Size;
            _line.Enqueue(Machine.Endpoint.WriteAsync(Machine.Message[..8], Machine.Regions[_next].Slice(0, 8)).AsTask());
        }
    }

    public override int Run()
    {
        for (int i = 0; i < Served; i++)
        {
            long posts = Machine.Driver.Posts;
            Machine.Driver.End(_slots.Dequeue(), 8);
            // The progress turn that ends one operation queues the other, which is posted in the next turn at the latest.
            for (int turns = 0; Machine.Driver.Posts == posts; turns++)
            {
                if (turns == 3)
                    throw new InvalidOperationException("A slot that became free did not go to the first that waits.");
                Machine.Poll();
            }
            _slots.Enqueue(Machine.Driver.LastIndex);
            _line.Dequeue();
        }
        return Served;
    }

    public override void Dispose()
    {
        Machine.Driver.Conduct = Conduct.Ends;
        while (_slots.TryDequeue(out int slot))
            Machine.Driver.End(slot, 8);
        PollUntilEnded([.. _line]);
    }
}
