using System.Buffers;
using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using AllocTools.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.AspNetCore;

/// <summary>Makes the transports of ASP.NET Core's servers take their blocks from a pool, so that data arrives in registered memory.</summary>
/// <remarks>
/// There is no separate cache of blocks: a rent is an ordinary rent of the pool, from the thread's magazine, and idle
/// blocks are trimmed like all others. If the pool has no room, the server gets unregistered memory, because a server
/// that drops connections would be worse than one that copies for a while; the log and a metric report it. Kestrel
/// requests a memory pool for each of its I/O queues when it binds; the pool is open by then, because its service
/// starts first.
/// </remarks>
internal sealed class ServerMemoryFactory : IMemoryPoolFactory<byte>
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private readonly IServiceProvider _services;
    private readonly PoolKey _key;
    private readonly int _maxBlockSize;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly ErrorCounts _unregistered = new();
    private readonly Lock _gate = new();
    private IRmaMemoryPool? _pool;
    private long? _logged;

    public ServerMemoryFactory(IServiceProvider services, PoolKey key, int maxBlockSize)
    {
        _services = services;
        _key = key;
        _maxBlockSize = maxBlockSize;
        _logger = GuardedLogger.Over(services.GetRequiredService<ILoggerFactory>().CreateLogger(ConnectionsLog.Category));
        _time = services.GetService<TimeProvider>() ?? TimeProvider.System;
        Meter meter = services.GetRequiredService<IMeterFactory>().Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableUpDownCounter("rma.server_memory.rented", () => Measure(Rented.Sum), "By", "Bytes of the pool's memory that connections of the server hold.");
        meter.CreateObservableCounter("rma.server_memory.unregistered", Unregistered, "By", "Bytes of unregistered memory that the server got instead of the pool's memory, by reason; data received there must be copied before it can be sent by RMA.");
    }

    /// <summary>The bytes that the server holds.</summary>
    public SplitCounter Rented { get; } = new();

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null)
    {
        lock (_gate)
            _pool ??= _key.Resolve<IRmaMemoryPool>(_services);
        return new ServerMemoryPool(this, _pool, _maxBlockSize);
    }

    /// <summary>Reports that the server gets unregistered memory.</summary>
    /// <param name="length">The length in bytes.</param>
    /// <param name="errorType">The reason, for the metric.</param>
    /// <param name="reason">The reason, for the log.</param>
    public void OnUnregistered(long length, string errorType, string reason)
    {
        _unregistered.Count(errorType, length);
        long now = _time.GetTimestamp();
        lock (_gate)
        {
            if (_logged is { } last && _time.GetElapsedTime(last, now) < LogInterval)
                return;
            _logged = now;
        }
        ConnectionsLog.ServerMemoryNotRegistered(_logger, _key.DisplayName, reason, _unregistered.Snapshot().Values.Sum());
    }

    private List<Measurement<long>> Unregistered() =>
        [.. from reason in _unregistered.Snapshot() from measurement in Measure(reason.Value, RmaTags.Tag(RmaTags.ErrorType, reason.Key)) select measurement];

    /// <summary>Returns no values before the server has bound.</summary>
    private List<Measurement<long>> Measure(long value, params ReadOnlySpan<KeyValuePair<string, object?>> more) =>
        Volatile.Read(ref _pool) is { } pool ? [new Observed<long>(value, pool.Name, pool.Context.Traits.ProviderName).Measure(value, more)] : [];
}

/// <summary>A sum to which many threads add: each processor has its own counter, so that threads don't slow each other down.</summary>
internal sealed class SplitCounter
{
    // The counters are on separate cache lines.
    private const int Stride = 16;

    private readonly long[] _cells = new long[(Environment.ProcessorCount + 1) * Stride];

    public long Sum
    {
        get
        {
            long sum = 0;
            for (int i = Stride; i < _cells.Length; i += Stride)
                sum += Volatile.Read(ref _cells[i]);
            return sum;
        }
    }

    public void Add(long value) => Interlocked.Add(ref _cells[(1 + (int)((uint)Thread.GetCurrentProcessorId() % (uint)Environment.ProcessorCount)) * Stride], value);
}
