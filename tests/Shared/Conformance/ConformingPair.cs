using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Two contexts of a transport, each with a pool and an endpoint, whose endpoints have inserted each other as peers.
/// </summary>
/// <typeparam name="TTransport">The transport.</typeparam>
public sealed class ConformingPair<TTransport> : IAsyncDisposable
    where TTransport : IConformingTransport
{
    private readonly Thread? _polling;
    private volatile bool _isClosed;

    /// <param name="mode">How the transport is opened.</param>
    /// <param name="configure">Changes the options of both endpoints.</param>
    /// <param name="configurePool">Changes the options of both pools.</param>
    /// <param name="pollsItself">Whether the test polls if the caller makes progress; otherwise a thread does.</param>
    public ConformingPair(string mode, Action<RmaEndpointOptions>? configure = null, Action<RmaMemoryPoolOptions>? configurePool = null, bool pollsItself = false)
    {
        RmaProgress progress = RmaProgress.Endpoint;
        Left = Open();
        Right = Open();
        Left.Peer = Left.Endpoint.InsertPeer(Right.Endpoint.Address.Span);
        Right.Peer = Right.Endpoint.InsertPeer(Left.Endpoint.Address.Span);
        if (progress == RmaProgress.Caller && !pollsItself)
        {
            _polling = new Thread(Poll) { IsBackground = true, Name = "Polling" };
            _polling.Start();
        }

        ConformingSide Open()
        {
            IRmaContext context = TTransport.Open(mode, o =>
            {
                configure?.Invoke(o);
                progress = o.Progress;
            });
            return new ConformingSide(context, configurePool);
        }
    }

    public ConformingSide Left { get; }

    public ConformingSide Right { get; }

    public RmaProviderTraits Traits => Left.Endpoint.Context.Traits;

    /// <summary>
    /// Asserts that bytes have been written, or soon are on transports where the end of a write doesn't guarantee
    /// delivery.
    /// </summary>
    public async Task AssertWrittenAsync(RmaSlice expected, RmaSlice target)
    {
        DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
        while (!Traits.DeliveryComplete && !expected.Span.SequenceEqual(target.Span) && DateTime.UtcNow < limit)
            await Task.Yield();
        Assert.True(expected.Span.SequenceEqual(target.Span), $"{expected.Length} bytes were written, and others are there");
    }

    /// <summary>Asserts the sender of a message, or that no sender is reported if the transport can't identify it.</summary>
    public void AssertSender(ulong? expected, ulong? actual)
    {
        // Now and then, net's signal is cleared by a read that reports no senders.
        bool mayBeUnknown = !Traits.SendersAreKnown || Traits.ProviderName is "net" or "tcp";
        Assert.True(actual == expected || (mayBeUnknown && actual is null), $"{expected} has sent it, {actual} is said to have");
        if (!Traits.SendersAreKnown)
            Assert.Null(actual);
    }

    public async ValueTask DisposeAsync()
    {
        await Left.DisposeAsync();
        await Right.DisposeAsync();
        _isClosed = true;
        _polling?.Join();
    }

    private void Poll()
    {
        while (!_isClosed)
        {
            Left.TryPoll();
            Right.TryPoll();
            Thread.Yield();
        }
    }
}

/// <summary>A context with a pool and an endpoint.</summary>
public sealed class ConformingSide : IAsyncDisposable
{
    private readonly IRmaContext _context;

    public ConformingSide(IRmaContext context, Action<RmaMemoryPoolOptions>? configurePool = null)
    {
        _context = context;
        var options = new RmaMemoryPoolOptions
        {
            Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
            DrainTimeout = TimeSpan.Zero,
        };
        configurePool?.Invoke(options);
        Pool = new RmaMemoryPool<HostProvider>(context, options);
        Endpoint = context.OpenEndpoint();
    }

    public IRmaMemoryPool Pool { get; }

    public IRmaEndpoint Endpoint { get; }

    /// <summary>The other side.</summary>
    public RmaPeer Peer { get; set; }

    /// <summary>Buffers that are out or quarantined.</summary>
    public long BuffersOut => Pool.GetStatistics().RentedBuffers + Pool.GetStatistics().QuarantinedBuffers;

    /// <summary>
    /// Asserts that all buffers are returned. One whose receive was given up is quarantined until the transport has let
    /// go of it.
    /// </summary>
    public void AssertAllComeBack() => Assert.True(SpinWait.SpinUntil(() => BuffersOut == 0, TestTime.Seconds(30)), $"{BuffersOut} buffers are out");

    /// <summary>Asserts that a message to the other side arrives.</summary>
    public async Task AssertReachesAsync(RmaPeer peer, ConformingSide to)
    {
        using RmaBuffer message = Pool.Rent(64);
        using RmaBuffer received = to.Pool.Rent(64);
        message.Span.Fill(42);
        received.Span.Clear();
        Task<RmaReceiveResult> receiving = to.Endpoint.ReceiveAsync(received).AsTask();
        await Endpoint.SendAsync(message, peer);
        Assert.Equal(64, (await receiving).Length);
        Assert.False(received.Span.ContainsAnyExcept((byte)42));
    }

    /// <summary>Makes progress, unless the endpoint is closed.</summary>
    public void TryPoll()
    {
        try
        {
            Endpoint.Poll([]);
        }
        catch (ObjectDisposedException)
        {
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Endpoint.DisposeAsync();
        await Pool.DisposeAsync();
        _context.Dispose();
    }
}
