namespace AllocTools.Scale.Scenes;

internal sealed class WarmRent(Machine machine) : INamedScene
{
    private const int Operations = 20_000;

    public static string Name => "rent a block of the magazine, and return it";

    public static string Among => "slabs";

    public static IScene Open(Machine machine) => new WarmRent(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            machine.Pool.Rent(Machine.Small).Dispose();
        return Operations;
    }

    public void Dispose()
    {
    }
}

/// <summary>Rents more blocks than a magazine holds, so that the shelves serve them.</summary>
internal sealed class ShelfRent(Machine machine) : INamedScene
{
    private readonly RmaBuffer[] _buffers = new RmaBuffer[64];

    public static string Name => "rent a block past the magazine, and return it";

    public static string Among => "slabs";

    public static IScene Open(Machine machine) => new ShelfRent(machine);

    public int Run()
    {
        for (int round = 0; round < 10; round++)
        {
            for (int i = 0; i < _buffers.Length; i++)
                _buffers[i] = machine.Pool.Rent(Machine.Block);
            Array.ForEach(_buffers, static b => b.Dispose());
        }
        return 10 * _buffers.Length;
    }

    public void Dispose() => machine.Clock.Advance(TimeSpan.FromHours(1));
}

internal sealed class SlabRegistration(Machine machine) : INamedScene
{
    private readonly RmaBuffer[] _buffers = new RmaBuffer[64];

    public static string Name => "register a slab, trim it";

    public static string Among => "slabs";

    public static IScene Open(Machine machine) => new SlabRegistration(machine);

    public void Prepare() => machine.Clock.Advance(TimeSpan.FromHours(1));

    public int Run()
    {
        for (int i = 0; i < _buffers.Length; i++)
            _buffers[i] = machine.Pool.Rent(Machine.Block);
        Array.ForEach(_buffers, static b => b.Dispose());
        // The trimmer runs on its timer, and gives back memory that has been idle for long.
        machine.Clock.Advance(TimeSpan.FromHours(1));
        return _buffers.Length;
    }

    public void Dispose()
    {
    }
}

internal sealed class Exposing(Machine machine) : INamedScene
{
    private const int Operations = 2000;

    public static string Name => "expose a buffer, revoke it";

    public static string Among => "exposures";

    public static IScene Open(Machine machine) => new Exposing(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            machine.RentedOf(machine.Random.Next(machine.Size)).Expose(RmaAccess.RemoteWrite).Dispose();
        return Operations;
    }

    public void Dispose()
    {
    }
}

internal sealed class Statistics(Machine machine) : INamedScene
{
    private const int Operations = 500;

    public static string Name => "read the pool's statistics";

    public static string Among => "slabs";

    public static IScene Open(Machine machine) => new Statistics(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            machine.Pool.GetStatistics();
        return Operations;
    }

    public void Dispose()
    {
    }
}

/// <summary>Requests that are larger than the largest class, of 256 lengths.</summary>
internal sealed class DirectRent : INamedScene
{
    private const int Operations = 200, Lengths = 256;

    private readonly Machine _machine;
    private readonly RmaMemoryPool<Simulation.SimulatedProvider> _pool;

    private DirectRent(Machine machine)
    {
        _machine = machine;
        _pool = machine.NewPool(static o =>
        {
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Machine.Small });
            o.MaxIdleDirectBytes = Machine.Cap;
            o.MaxSlabBytes = 64 << 10;
        });
        RmaBuffer[] buffers = new RmaBuffer[machine.Size];
        for (int i = 0; i < buffers.Length; i++)
            buffers[i] = _pool.Rent(LengthOf(i));
        Array.ForEach(buffers, static b => b.Dispose());
    }

    public static string Name => "rent an idle region over the largest class, and return it";

    public static string Among => "idle regions";

    public static IScene Open(Machine machine) => new DirectRent(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            _pool.Rent(LengthOf(_machine.Random.Next(_machine.Size))).Dispose();
        return Operations;
    }

    public void Dispose() => _pool.Dispose();

    private static long LengthOf(int index) => 65_536 + (index % Lengths * 4096);
}

internal sealed class CallersMemory : INamedScene
{
    private const int Operations = 500;

    private readonly Machine _machine;
    private readonly byte[] _memory;
    private readonly RmaBuffer[] _registered;

    private CallersMemory(Machine machine)
    {
        _machine = machine;
        _memory = GC.AllocateArray<byte>((machine.Size + 1) * 64, pinned: true);
        _registered = new RmaBuffer[machine.Size];
        for (int i = 0; i < _registered.Length; i++)
            _registered[i] = machine.Pool.Register(_memory.AsMemory(i * 64, 64));
    }

    public static string Name => "register memory of the caller's, deregister it";

    public static string Among => "such registrations";

    public static IScene Open(Machine machine) => new CallersMemory(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            _machine.Pool.Register(_memory.AsMemory(_machine.Size * 64, 64)).Dispose();
        return Operations;
    }

    public void Dispose() => Array.ForEach(_registered, static b => b.Dispose());
}

internal sealed class CachedMemory : INamedScene
{
    private const int Operations = 500, Length = 64;

    private readonly Machine _machine;
    private readonly Caching.RmaRegistrationCache _cache;
    private readonly byte[][] _memory;

    private CachedMemory(Machine machine)
    {
        _machine = machine;
        _cache = new Caching.RmaRegistrationCache(machine.Pool, new Caching.RmaRegistrationCacheOptions { MaxEntries = 65_536 });
        _memory = new byte[Math.Min(machine.Size, Most)][];
        for (int i = 0; i < _memory.Length; i++)
        {
            _memory[i] = GC.AllocateArray<byte>(Length, pinned: true);
            _cache.Register(_memory[i]).Dispose();
        }
    }

    public static string Name => "find a registration in the cache, return it";

    public static string Among => "cached registrations";

    public static int Most => 65_536;

    public static IScene Open(Machine machine) => new CachedMemory(machine);

    public int Run()
    {
        for (int i = 0; i < Operations; i++)
            _cache.Register(_memory[_machine.Random.Next(_memory.Length)]).Dispose();
        return Operations;
    }

    public void Dispose() => _cache.Dispose();
}
