using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>
/// A pool, and everything that is known about it from outside: rented buffers, waiters, and the numbers of served and
/// refused requests.
/// </summary>
/// <remarks>
/// Steps call the methods of the partial files; after each one, <see cref="Settle"/> and <see cref="PoolBooks"/> are
/// called.
/// </remarks>
internal sealed partial class PoolModel : IDisposable
{
    private readonly WorkerThread?[] _threads = new WorkerThread?[Scenarios.Threads];
    private readonly Dictionary<IRmaRegistration, int> _owners = [];
    private readonly HashSet<IRmaRegistration> _initial = [];
    private readonly PoolOracle _oracle;
    private readonly PoolBooks _books;
    private byte _lastPattern;

    public PoolModel(PoolShape shape)
    {
        Shape = shape;
        Cap = HighestCap = shape.Cap;
        var options = new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero };
        shape.Apply(options);
        Pool = new RmaMemoryPool<HostProvider>(Context, options, "model", null, Blocks, Time);
        Context.Dispose();
        Context.Objection = registration => Taken.Any(l => l.Registration == registration) ? "memory was deregistered of which something is out" : null;
        _oracle = new PoolOracle(this);
        _books = new PoolBooks(this, _oracle);
    }

    public static int PageSize => Environment.SystemPageSize;

    public PoolShape Shape { get; }

    /// <summary>The cap in force.</summary>
    public long Cap { get; private set; }

    public long HighestCap { get; private set; }

    public FakeTimeProvider Time { get; } = new();

    public ScriptedContext Context { get; } = new();

    public CountingAllocator Blocks { get; } = new();

    public RmaMemoryPool<HostProvider> Pool { get; }

    public RmaPoolStatistics Statistics => Pool.GetStatistics();

    public LifeState Life { get; private set; }

    /// <summary>Gets the leases that callers have.</summary>
    public List<Lease> Out { get; } = [];

    /// <summary>Gets the leases that were returned while operations or exposures held them.</summary>
    public List<Lease> Quarantined { get; } = [];

    /// <summary>Gets the leases whose memory nobody else may get.</summary>
    public IEnumerable<Lease> Taken => Out.Concat(Quarantined);

    /// <summary>Leases that have ended.</summary>
    public List<Lease> Past { get; } = [];

    /// <summary>Gets the waiters, in the order of their requests.</summary>
    public List<WaitingRent> Waiting { get; } = [];

    /// <summary>Gets the registrations that belong to exposures.</summary>
    public List<IRmaRegistration> Exposed { get; } = [];

    public long UserBytes => Taken.Where(l => l.Owner == Shape.User).Sum(l => l.Capacity);

    public long ExposedBytes => Exposed.Sum(e => Context.Live.GetValueOrDefault(e));

    /// <summary>Gets the number of requests that were served.</summary>
    public long Served { get; private set; }

    /// <summary>Gets the number of requests that were refused for lack of room.</summary>
    public long Rejected { get; private set; }

    /// <summary>Gets the number of registrations that were not made for a rent.</summary>
    public long MadeAside { get; private set; }

    public static long RoundToPages(long length) => (length + PageSize - 1) / PageSize * PageSize;

    /// <summary>Returns the lengths of the idle direct regions.</summary>
    public IReadOnlyList<long> IdleDirect()
    {
        HashSet<IRmaRegistration> taken = [.. Taken.Select(l => l.Registration)];
        return [.. Context.Live.Where(r => _owners.GetValueOrDefault(r.Key, -1) == Shape.Direct && !taken.Contains(r.Key)).Select(r => r.Value)];
    }

    /// <summary>Runs a step on its thread, and checks the results.</summary>
    public void Do(Step step)
    {
        if (step.Thread == 0)
            step.Run(this);
        else
            (_threads[step.Thread] ??= new WorkerThread()).Run(() => step.Run(this));
        Settle();
        _books.Check();
    }

    /// <summary>Ends a thread; the next step on it gets a new one.</summary>
    public void EndThread(int thread)
    {
        _threads[thread]?.Dispose();
        _threads[thread] = null;
    }

    /// <summary>Gives everything back and closes the pool: nothing may be left.</summary>
    public void Finish()
    {
        Context.FailNext = 0;
        while (Waiting.Count > 0)
        {
            Waiting[^1].Cancel();
            Settle();
        }
        while (Out.Count > 0)
        {
            Lease lease = Out[^1];
            while (lease.Exposures.Count > 0)
                EndExposure(lease, lease.Exposures[^1]);
            while (lease.Holds.Count > 0)
                Release(lease, lease.Holds[^1]);
            Return(lease, byPool: true);
        }
        while (Quarantined.Count > 0)
        {
            Lease lease = Quarantined[^1];
            if (lease.Exposures.Count > 0)
                EndExposure(lease, lease.Exposures[^1]);
            else
                Release(lease, lease.Holds[^1]);
        }
        Settle();
        _books.Check();
        Close();
        _books.Check();
        Assert.Empty(Context.Live);
        Assert.True(Context.WasClosed);
        Assert.Equal(0, Blocks.Mapped);
    }

    public void Dispose()
    {
        for (int thread = 1; thread < _threads.Length; thread++)
            EndThread(thread);
        // After a failed scenario, its rented buffers are abandoned.
        Pool.Dispose();
    }

    /// <summary>Adds a buffer to the statistics, for the owner that its capacity identifies.</summary>
    private void Adopt(RmaBuffer buffer, long length, int owner)
    {
        Assert.Equal(length, buffer.Length);
        Assert.True(buffer.IsRented);
        var lease = new Lease(buffer, owner, ++_lastPattern);
        if (owner < Shape.Direct)
            Assert.Equal(Shape.Classes[owner].BlockSize, lease.Capacity);
        Assert.True(Context.Live.TryGetValue(lease.Registration, out long registered), "the buffer is not registered");
        Assert.Equal(registered, buffer.Region.Length);
        Assert.InRange(lease.Address - buffer.Region.Address, 0, registered - lease.Capacity);
        Assert.True(_owners.TryAdd(lease.Registration, owner) || _owners[lease.Registration] == owner, "a region serves two classes");
        Assert.DoesNotContain(Taken, l => l.Overlaps(lease));
        Out.Add(lease);
    }

    private int OwnerOf(RmaBuffer buffer) => Shape.OwnerOf(buffer.Capacity);
}
