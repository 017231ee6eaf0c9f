using AllocTools.Scale.Simulation;

namespace AllocTools.Scale.Scenes;

/// <summary>A request that the cap refuses, after the magazines of all threads were searched.</summary>
internal sealed class Refusal : INamedScene
{
    private const int Operations = 200;

    private readonly RmaMemoryPool<SimulatedProvider> _pool;
    private readonly List<RmaBuffer> _rented = [];
    private readonly ManualResetEventSlim _end = new();
    private readonly Thread[] _threads;

    private Refusal(Machine machine)
    {
        _pool = machine.NewPool(static o =>
        {
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Machine.Small });
            o.MaxRegisteredBytes = Most * 16 * Machine.Small;
        });
        using CountdownEvent ready = new(Math.Min(machine.Size, Most));
        _threads = new Thread[ready.InitialCount];
        for (int i = 0; i < _threads.Length; i++)
        {
            _threads[i] = new Thread(() =>
            {
                _pool.Rent(Machine.Small).Dispose();
                ready.Signal();
                _end.Wait();
            });
            _threads[i].Start();
        }
        ready.Wait();
        // This takes the blocks in the magazines, too: the magazines stay, but are empty.
        while (_pool.TryRent(Machine.Small, out RmaBuffer buffer))
            _rented.Add(buffer);
    }

    public static string Name => "be refused at the cap";

    public static string Among => "threads";

    public static int Most => 256;

    public static IScene Open(Machine machine) => new Refusal(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
        {
            if (_pool.TryRent(Machine.Small, out _))
                throw new InvalidOperationException("A pool at its cap had a block.");
        }
        return Operations;
    }

    public void Dispose()
    {
        _end.Set();
        Array.ForEach(_threads, static t => t.Join());
        _end.Dispose();
        _rented.ForEach(static b => b.Dispose());
        _pool.Dispose();
    }
}
