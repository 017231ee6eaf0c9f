using System.Buffers;
using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using AllocTools.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.AspNetCore;

/// <summary>Has the transports of ASP.NET Core's servers take their blocks from a pool, so that what arrives in them is registered memory.</summary>
/// <remarks>
/// There is no cache of blocks beside the pool's: a rent is one of the pool's own, from the thread's magazine, and idle blocks are
/// trimmed as all of the pool's are. Where the pool has no room the server gets plain memory. A server that drops connections
/// because a cache of registrations is full would be worse than one that copies for a while; the log and a metric tell of it.
/// Kestrel asks for a pool for each of its I/O queues when it binds; the pool was opened by then, since its service starts first.
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
        meter.CreateObservableCounter("rma.server_memory.unregistered", Unregistered, "By", "Bytes of plain memory that the server got in place of the pool's, by the reason; what arrives there can't go on by RMA without a copy.");
    }

    /// <summary>Bytes that the server holds.</summary>
    public SplitCounter Rented { get; } = new();

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null)
    {
        lock (_gate)
            _pool ??= _key.Resolve<IRmaMemoryPool>(_services);
        return new ServerMemoryPool(this, _pool, _maxBlockSize);
    }

    /// <summary>The server gets plain memory.</summary>
    /// <param name="length">Bytes.</param>
    /// <param name="errorType">Why, for the metric.</param>
    /// <param name="reason">Why, for people.</param>
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

    /// <summary>Nothing before the server has bound.</summary>
    private List<Measurement<long>> Measure(long value, params ReadOnlySpan<KeyValuePair<string, object?>> more) =>
        Volatile.Read(ref _pool) is { } pool ? [new Observed<long>(value, pool.Name, pool.Context.Traits.ProviderName).Measure(value, more)] : [];
}

/// <summary>A sum that many threads add to: each processor has a place of its own, so that they don't slow each other down.</summary>
internal sealed class SplitCounter
{
    // On cache lines of their own.
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
