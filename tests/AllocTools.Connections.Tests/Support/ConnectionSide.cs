using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace AllocTools.Connections.Tests.Support;

/// <summary>One side: a context, a pool and its connections.</summary>
internal sealed class ConnectionSide : IAsyncDisposable
{
    /// <summary>The name of the provider inside one process, in addition to the names of fabrics.</summary>
    public const string Host = "host";

    /// <summary>The prefix of the names of UCX's fabrics.</summary>
    public const string Ucx = "ucx:";

    private readonly IRmaContext _context;
    private readonly LoggerFactory? _ownLogging;
    private readonly TimeProvider? _time;

    /// <param name="fabric">The transport.</param>
    /// <param name="configure">Sets options.</param>
    /// <param name="logging">Receives the log; null for the test's output.</param>
    /// <param name="local">The side that carries connections between processes on one host.</param>
    /// <param name="wrap">Wraps the pool.</param>
    /// <param name="limit">The pool's limit in bytes; 0 for its default.</param>
    /// <param name="endpoint">Sets options of the endpoint.</param>
    /// <param name="time">The connections' clock; null for the system's.</param>
    /// <param name="isolation">The isolation of the pool.</param>
    public ConnectionSide(
        string fabric, Action<RmaConnectionOptions>? configure = null, ILoggerFactory? logging = null, ConnectionSide? local = null, Func<IRmaMemoryPool, IRmaMemoryPool>? wrap = null, long limit = 0,
        Action<RmaEndpointOptions>? endpoint = null, TimeProvider? time = null, RmaIsolation isolation = RmaIsolation.Shared)
    {
        logging ??= _ownLogging = new LoggerFactory([new TestOutputLogger()]);
        _time = time;
        _context = Open(fabric, logging, endpoint ?? (static _ => { }));
        var pool = new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, Isolation = isolation, DrainTimeout = TimeSpan.Zero };
        if (limit > 0)
            pool.MaxRegisteredBytes = limit;
        Pool = new RmaMemoryPool<HostProvider>(_context, pool);
        var options = new RmaConnectionOptions();
        // With this provider, nothing is under way once a call has returned.
        if (fabric == Host)
            options.LateWrites = TimeSpan.FromMilliseconds(10);
        configure?.Invoke(options);
        Connections = new RmaConnections(wrap?.Invoke(Pool) ?? Pool, options, logging, time, local?.Connections);
    }

    /// <summary>Gets the fabrics that can be used inside one process.</summary>
    public static TheoryData<string> InOneProcess => new([Host, .. Fabric.All.Where(f => f is Fabric.Tcp or Fabric.SharedMemoryByAddress || Fabric.IsVerbs(f))]);

    /// <summary>Gets the fabrics between two processes: libfabric's, and UCX's over TCP and shared memory.</summary>
    public static string[] BetweenProcesses => [.. Fabric.All, .. Fabric.Named is null ? UcxFabrics : []];

    private static string[] UcxFabrics => [Ucx + UcxFabric.Tcp, Ucx + UcxFabric.SharedMemory];

    public IRmaMemoryPool Pool { get; }

    public RmaConnections Connections { get; }

    /// <summary>Gets whether nothing of any connection is left.</summary>
    public bool IsClean => Connections.Count == 0 && Pool.GetStatistics() is { RentedBuffers: 0, QuarantinedBuffers: 0 };

    /// <summary>Waits until nothing of any connection is left.</summary>
    public async Task BecomesCleanAsync()
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (!IsClean)
        {
            RmaPoolStatistics now = Pool.GetStatistics();
            Assert.False(limit.IsCancellationRequested, $"{Connections.Count} connections, {now.RentedBuffers} buffers rented, {now.QuarantinedBuffers} in quarantine.");
            await Task.Delay(20, CancellationToken.None);
            (_time as FakeTimeProvider)?.Advance(TimeSpan.FromSeconds(1));
        }
    }

    /// <summary>Waits for a task that takes time, and meanwhile advances the test's clock if there is one.</summary>
    public async Task EndsAsync(Task task)
    {
        while (_time is FakeTimeProvider time && !task.IsCompleted)
        {
            await Task.WhenAny(task, Task.Delay(10, CancellationToken.None));
            time.Advance(TimeSpan.FromSeconds(1));
        }
        await task;
    }

    private static IRmaContext Open(string fabric, ILoggerFactory logging, Action<RmaEndpointOptions> endpoint)
    {
        if (fabric.StartsWith(Ucx, StringComparison.Ordinal))
            return UcxFabric.Open(fabric[Ucx.Length..], o => endpoint(o.Endpoint), logging);
        if (fabric != Host)
            return Fabric.Open(fabric, o => endpoint(o.Endpoint), logging);
        var options = new HostProviderOptions { Locking = PageLocking.None };
        endpoint(options.Endpoint);
        return new HostProvider(options).Open();
    }

    public async ValueTask DisposeAsync()
    {
        await EndsAsync(Connections.DisposeAsync().AsTask());
        await Pool.DisposeAsync();
        _context.Dispose();
        _ownLogging?.Dispose();
    }
}
