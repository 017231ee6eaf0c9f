using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Everything that two sides do with libfabric, from opening to closing, repeated a few times. Failures are recorded,
/// and the rest continues. Only exceptions of this library count as failures; any other exception fails the test.
/// </summary>
internal sealed class WholeLife(FakeWorld world)
{
    /// <summary>
    /// A failure may spoil one of these cycles, and another one: a receive that can't be cancelled swallows the next
    /// message.
    /// </summary>
    public const int FailingCycles = 3;

    private const int CyclesAfter = 2;
    private const int Length = 5000;
    private static readonly TimeSpan OperationTime = TimeSpan.FromSeconds(2);
    private readonly List<RmaException> _failures = [];
    private readonly List<string> _refused = [];
    private readonly FakeLogCollector _logs = new();

    public CountingAllocator Blocks { get; } = new();

    public IReadOnlyList<RmaException> Failures => _failures;

    /// <summary>Gets whether both sides were opened.</summary>
    public bool Opened { get; private set; }

    /// <summary>Gets whether the last cycle succeeded completely.</summary>
    public bool ServedAtLast { get; private set; }

    /// <summary>
    /// Gets what users and operators can see of failures: exceptions, the pools' last refused registration, and log entries.
    /// </summary>
    public string Told => string.Join(
        '\n', _failures.Select(f => $"{f.ErrorName}: {f.Message}").Concat(_refused).Concat(_logs.GetSnapshot().Where(l => l.Level >= LogLevel.Warning).Select(l => $"{l.Message} {l.Exception?.Message}")));

    public async Task RunAsync(int cycles = FailingCycles + CyclesAfter)
    {
        using LoggerFactory logging = new([new FakeLoggerProvider(_logs)]);
        await using Side left = new();
        await using Side right = new();
        Opened = Try(() => left.Open(world, logging, Blocks)) && Try(() => right.Open(world, logging, Blocks));
        if (!Opened)
            return;
        for (int i = 0; i < cycles; i++)
            ServedAtLast = await TryAsync(() => CycleAsync(left, right));
        _refused.AddRange(new[] { left, right }.Select(s => s.Pool.GetStatistics().LastRegistrationFailure?.Message).OfType<string>());
    }

    private async Task CycleAsync(Side left, Side right)
    {
        RmaPeer peer = left.Endpoint.InsertPeer(right.Endpoint.Address.Span);
        try
        {
            using RmaBuffer source = left.Pool.Rent(Length);
            using RmaBuffer target = right.Pool.Rent(Length);
            RandomNumberGenerator.Fill(source.Span);
            await TransferAsync(left.Endpoint, peer, source, target);
            await GiveUpAsync(right.Endpoint, target);
        }
        finally
        {
            left.Endpoint.RemovePeer(peer);
        }
        using RmaBuffer sent = left.Pool.Rent(Length);
        using RmaBuffer received = right.Pool.Rent(Length);
        await MessageAsync(left.Endpoint, right.Endpoint, sent, received);
    }

    private static async Task TransferAsync(IRmaEndpoint endpoint, RmaPeer peer, RmaBuffer source, RmaBuffer target)
    {
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion region = endpoint.Import(peer, exposure.Remote);
        await endpoint.WriteAsync(source, region);
        Assert.True(source.Span.SequenceEqual(target.Span));
        RandomNumberGenerator.Fill(target.Span);
        await endpoint.ReadAsync(source, region);
        Assert.True(source.Span.SequenceEqual(target.Span));
    }

    private async Task GiveUpAsync(IRmaEndpoint endpoint, RmaBuffer buffer)
    {
        using CancellationTokenSource giveUp = new();
        // When this call returns, the receive is posted, queued or refused, however busy the machine is: a timeout
        // might expire before.
        ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer, cancellationToken: giveUp.Token);
        await giveUp.CancelAsync();
        try
        {
            await receiving;
            Assert.True(_failures.Count > 0, "a message has come that nobody sent and no receive has missed");
        }
        catch (OperationCanceledException)
        {
        }
    }

    private static async Task MessageAsync(IRmaEndpoint from, IRmaEndpoint to, RmaBuffer sent, RmaBuffer received)
    {
        RmaPeer peer = from.InsertPeer(to.Address.Span);
        using CancellationTokenSource giveUp = new();
        Task<RmaReceiveResult> receiving = to.ReceiveAsync(received, cancellationToken: giveUp.Token).AsTask();
        try
        {
            await from.SendAsync(sent, peer);
            Assert.Equal(sent.Length, (await receiving).Length);
        }
        finally
        {
            await giveUp.CancelAsync();
            await receiving.ContinueWith(static _ => { }, TaskScheduler.Default);
            from.RemovePeer(peer);
        }
    }

    private bool Try(Action step)
    {
        try
        {
            step();
            return true;
        }
        catch (RmaException e)
        {
            _failures.Add(e);
            return false;
        }
    }

    private async Task<bool> TryAsync(Func<Task> step)
    {
        try
        {
            await step();
            return true;
        }
        catch (RmaException e)
        {
            _failures.Add(e);
            return false;
        }
    }

    private sealed class Side : IAsyncDisposable
    {
        private IRmaContext? _context;
        private RmaMemoryPool<LibfabricProvider>? _pool;
        private IRmaEndpoint? _endpoint;

        public RmaMemoryPool<LibfabricProvider> Pool => _pool!;

        public IRmaEndpoint Endpoint => _endpoint!;

        public void Open(FakeWorld world, ILoggerFactory logging, CountingAllocator blocks)
        {
            _context = world.Open(o => o.Endpoint.OperationTimeout = OperationTime, logging);
            RmaMemoryPoolOptions options = new()
            {
                Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
                Isolation = RmaIsolation.PerExposure,
                DrainTimeout = TimeSpan.Zero,
            };
            _pool = new RmaMemoryPool<LibfabricProvider>(_context, options, loggerFactory: logging, blocks: blocks);
            _endpoint = _context.OpenEndpoint();
            CallersProgress.Start(world, _endpoint);
        }

        public async ValueTask DisposeAsync()
        {
            _endpoint?.Dispose();
            if (_pool is not null)
                await _pool.DisposeAsync();
            _context?.Dispose();
        }
    }
}
