using System.Net;
using AllocTools.Caching;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.Soak;

/// <summary>The objects that each process has: a pool with a registration cache, an endpoint, and connections.</summary>
internal sealed class Station : IAsyncDisposable
{
    private const string Ucx = "ucx:", SharedMemory = "shm";

    /// <summary>The time limit of an operation on a busy machine.</summary>
    public static readonly TimeSpan OperationTimeout = TestTime.Seconds(30);

    /// <summary>
    /// The memory of a connection that was lost to a live process is kept until that process's latest possible write
    /// (docs/connections.md, the end of a connection).
    /// </summary>
    private static readonly TimeSpan SettleTime = new RmaConnectionOptions().PeerTimeout + OperationTimeout + TestTime.Seconds(10), SettleStep = TimeSpan.FromMilliseconds(20);

    private readonly IRmaContext _context;
    private readonly bool _listens;

    public Station(string fabric, bool listens)
    {
        _listens = listens;
        _context = Open(fabric);
        Pool = new RmaMemoryPool<HostProvider>(_context, Options());
        Cache = new RmaRegistrationCache(Pool);
        Endpoint = null!;
        Connections = null!;
        OpenEndpoint();
    }

    public RmaMemoryPool<HostProvider> Pool { get; }

    public RmaRegistrationCache Cache { get; }

    public IRmaEndpoint Endpoint { get; private set; }

    public RmaConnections Connections { get; private set; }

    public RmaConnectionListener? Listener { get; private set; }

    public int Port => ((IPEndPoint)Listener!.EndPoint).Port;

    /// <summary>Gets the names of UCX's fabrics.</summary>
    public static string[] UcxFabrics { get; } = [Ucx + UcxFabric.Tcp, Ucx + SharedMemory];

    /// <summary>Whether a name is one of UCX's fabrics, or may be one of libfabric's.</summary>
    public static bool IsFabric(string name) => !name.StartsWith(Ucx, StringComparison.Ordinal) || UcxFabrics.Contains(name);

    /// <summary>
    /// Whether the endpoint is reopened as peers come and go: an endpoint of shm accepts 256 peers in its lifetime
    /// (docs/reliability.md).
    /// </summary>
    public static bool IsRenewed(string fabric) => fabric == SharedMemory;

    /// <summary>
    /// Whether a killed peer may end operations that were posted to others before, and connections, too
    /// (docs/reliability.md).
    /// </summary>
    public static bool PeersHoldUpOthers(string fabric) => fabric == SharedMemory;

    /// <summary>Returns the pool's options when it is sampled: no idle memory is kept.</summary>
    public static RmaMemoryPoolOptions Options()
    {
        var options = new RmaMemoryPoolOptions
        {
            Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
            Isolation = RmaIsolation.PerExposure,
            MaxRegisteredBytes = 128 << 20,
            MaxSlabBytes = 1 << 20,
            MaxIdleDirectBytes = 4 << 20,
            IdleRetention = TimeSpan.Zero,
            TrimInterval = TimeSpan.FromMilliseconds(10),
            RentTimeout = OperationTimeout,
            DrainTimeout = OperationTimeout,
        };
        foreach (long size in new[] { 4 << 10, 64 << 10, 256 << 10 })
            options.SizeClasses.Add(new SizeClassOptions { BlockSize = size });
        options.RegistrationCache.MaxEntries = 64;
        return options;
    }

    /// <summary>Closes the endpoint and the connections, and opens new ones.</summary>
    public async Task RenewAsync()
    {
        await CloseEndpointAsync();
        OpenEndpoint();
    }

    /// <summary>Waits until connections have ended and the pool has given back its idle memory, and takes a sample.</summary>
    public async Task<Sample> SampleAsync(TimeSpan time, CancellationToken stopping)
    {
        const int Quiet = 10;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(SettleTime);
        long last = -1;
        for (int same = 0; same < Quiet;)
        {
            RmaPoolStatistics now = Pool.GetStatistics();
            bool isQuiet = Connections.Count == 0 && now.Deregistrations == last && !limit.IsCancellationRequested;
            // Anything that has not settled in time shows in the sample.
            same = isQuiet || limit.IsCancellationRequested ? same + 1 : 0;
            last = now.Deregistrations;
            await Task.Delay(SettleStep, stopping);
        }
        return Sample.Take(time, Pool.GetStatistics(), Connections.Count);
    }

    public async ValueTask DisposeAsync()
    {
        await CloseEndpointAsync();
        Cache.Dispose();
        await Pool.DisposeAsync();
        _context.Dispose();
    }

    /// <summary>
    /// Returns descriptions of everything that should be 0 at the end and is not. Called after
    /// <see cref="DisposeAsync"/>.
    /// </summary>
    public IEnumerable<string> FindLeftovers()
    {
        RmaPoolStatistics end = Pool.GetStatistics();
        (string What, long Count)[] leftovers =
        [
            ("buffers are rented", end.RentedBuffers),
            ("buffers are in quarantine", end.QuarantinedBuffers),
            ("bytes are registered", end.RegisteredBytes + end.OtherRegisteredBytes),
            ("registrations are open", end.Registrations - end.Deregistrations),
            ("deregistrations have failed", end.DeregistrationFailures),
            ("mappings could not be undone", end.UnmapFailures),
            ("buffers were not returned by their owner", end.Leaks),
            ("unexpected errors happened in the pool", end.UnexpectedErrors),
        ];
        return leftovers.Where(static l => l.Count != 0).Select(static l => $"In the end {l.Count} {l.What}.");
    }

    private static IRmaContext Open(string fabric) => fabric.StartsWith(Ucx, StringComparison.Ordinal)
        ? UcxFabric.Open(fabric[Ucx.Length..] == SharedMemory ? UcxFabric.SharedMemory : fabric[Ucx.Length..], static o => o.Endpoint.OperationTimeout = OperationTimeout)
        : Fabric.Open(fabric == SharedMemory ? Fabric.SharedMemoryByAddress : fabric, static o => o.Endpoint.OperationTimeout = OperationTimeout);

    private void OpenEndpoint()
    {
        Endpoint = _context.OpenEndpoint();
        Connections = new RmaConnections(Pool);
        if (_listens)
            Listener = Connections.Listen(new IPEndPoint(IPAddress.Loopback, 0));
    }

    private async Task CloseEndpointAsync()
    {
        if (Listener is not null)
            await Listener.DisposeAsync();
        await Connections.DisposeAsync();
        Endpoint.Dispose();
    }
}
