using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests continuations that run after an await on the thread that has made the progress, on each fabric.</summary>
public sealed class InlineContinuationTests
{
    private const string ProgressThread = "AllocTools progress";

    private static readonly TimeSpan Patience = TestTime.Seconds(60);

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task EachGoesOnOnTheEndpointsThreadAndNoneNests(string fabric)
    {
        await using EndpointPair pair = Open(fabric);
        Task answering = AnswerAsync(pair.Right, 300);
        (string? name, int depth) = await PingPongAsync(pair.Left, 300).WaitAsync(Patience, Token);
        Assert.Equal(ProgressThread, name);
        Assert.InRange(depth, 1, 100);
        await answering.WaitAsync(Patience, Token);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task BatchesGoOnThereToo(string fabric)
    {
        await using EndpointPair pair = Open(fabric);
        using RmaBuffer target = pair.Right.Pool.Rent(100 * 64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(100 * 64);
        source.Span.Fill(7);
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();
        for (int i = 0; i < 100; i++)
            batch.Write(source.Slice(i * 64, 64), region.Slice(i * 64, 64));
        Assert.Contains(ProgressThread, await RunAsync(batch).WaitAsync(Patience, Token));
        Assert.False(target.Span.ContainsAnyExcept((byte)7));
    }

    // Failures are delivered there, too: each is found by a progress turn.
    [Fact]
    public async Task ATimeOutAndACancellationGoOnThere()
    {
        await using EndpointPair pair = Open(Fabric.Tcp);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        Assert.Equal(ProgressThread, await EndOfAsync(pair.Left.Endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Token)).WaitAsync(Patience, Token));
        using CancellationTokenSource stop = new();
        Task<string?> ending = EndOfAsync(pair.Left.Endpoint.ReceiveAsync(buffer, cancellationToken: stop.Token));
        await stop.CancelAsync();
        Assert.Equal(ProgressThread, await ending.WaitAsync(Patience, Token));
    }

    // The endpoint is closed by the very thread that its closing waits for.
    [Theory]
    [InlineData(Fabric.Tcp)]
    [InlineData(Fabric.SharedMemoryByAddress)]
    public async Task TheEndpointMayBeDisposedThere(string fabric)
    {
        await using EndpointPair pair = Open(fabric);
        using RmaBuffer outstanding = pair.Left.Pool.Rent(64);
        Task<RmaReceiveResult> behind = Task.FromException<RmaReceiveResult>(new InvalidOperationException());
        await DisposeAsync().WaitAsync(Patience, Token);
        Assert.IsType<RmaOperationException>(await Record.ExceptionAsync(() => behind.WaitAsync(Patience, Token)));
        Assert.Equal(0, pair.Left.Pool.GetStatistics().QuarantinedBuffers);
        Assert.Null(pair.Left.Pool.Context.Failure);

        async Task DisposeAsync()
        {
            using RmaBuffer buffer = pair.Left.Pool.Rent(64);
            // An operation that has ended before it is awaited continues on the current thread.
            while (Thread.CurrentThread.Name != ProgressThread)
                await EndOfAsync(pair.Left.Endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Token)).ConfigureAwait(false);
            behind = pair.Left.Endpoint.ReceiveAsync(outstanding, cancellationToken: Token).AsTask();
            pair.Left.Endpoint.Dispose();
        }
    }

    // The endpoint makes no progress meanwhile, but overdue operations end, and the operator sees why.
    [Fact]
    public async Task CodeThatBlocksKeepsNoOtherOperationFromTimingOut()
    {
        FakeLogCollector logs = new();
        using ILoggerFactory logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        await using EndpointPair pair = Open(Fabric.Tcp, logging: logging);
        using RmaBuffer first = pair.Left.Pool.Rent(64);
        using RmaBuffer other = pair.Left.Pool.Rent(64);
        using ManualResetEventSlim isBlocking = new();
        using ManualResetEventSlim goOn = new();
        Task blocking = BlockAsync();
        Assert.True(isBlocking.Wait(Patience, Token));
        ValueTask<RmaReceiveResult> receiving = pair.Left.Endpoint.ReceiveAsync(other, TimeSpan.FromMilliseconds(50), Token);
        RmaTimeoutException error = Assert.IsType<RmaTimeoutException>(await Record.ExceptionAsync(() => receiving.AsTask().WaitAsync(Patience, Token)));
        Assert.Contains("Continuations = Inline", error.Message, StringComparison.Ordinal);
        Assert.True(SpinWait.SpinUntil(() => pair.Left.Endpoint.GetStatistics().State == RmaEndpointState.Stuck, Patience));
        Assert.True(SpinWait.SpinUntil(() => logs.GetSnapshot().Any(l => l.Id.Id == 55), Patience));
        Assert.DoesNotContain(logs.GetSnapshot(), l => l.Id.Id == 11);
        goOn.Set();
        await blocking.WaitAsync(Patience, Token);
        // The continuation of that task runs on the endpoint's thread, too.
        await Task.Yield();
        Assert.True(SpinWait.SpinUntil(() => pair.Left.Endpoint.GetStatistics().State == RmaEndpointState.Open, Patience));

        async Task BlockAsync()
        {
            while (Thread.CurrentThread.Name != ProgressThread)
                await EndOfAsync(pair.Left.Endpoint.ReceiveAsync(first, TimeSpan.FromMilliseconds(20), Token)).ConfigureAwait(false);
            isBlocking.Set();
            goOn.Wait(Patience, Token);
        }
    }

    [Fact]
    public async Task WhereTheCallerMakesProgressItIsTheCallersThread()
    {
        await using EndpointPair pair = Open(Fabric.Tcp, RmaProgress.Caller);
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        Thread? wentOn = null;
        Task receiving = ReceiveAsync();
        Task sending = pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token).AsTask();
        long start = Stopwatch.GetTimestamp();
        while (!receiving.IsCompleted && Stopwatch.GetElapsedTime(start) < Patience)
        {
            pair.Left.Endpoint.Poll([]);
            pair.Right.Endpoint.Poll([]);
        }
        Assert.Same(Thread.CurrentThread, wentOn);
        while (!sending.IsCompleted && Stopwatch.GetElapsedTime(start) < Patience)
        {
            pair.Left.Endpoint.Poll([]);
            pair.Right.Endpoint.Poll([]);
        }
        await sending;

        async Task ReceiveAsync()
        {
            await pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).ConfigureAwait(false);
            wentOn = Thread.CurrentThread;
        }
    }

    [Fact]
    public async Task ASynchronizationContextIsKept()
    {
        await using EndpointPair pair = Open(Fabric.Tcp);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        var context = new ThreadEachContext();
        var done = new TaskCompletionSource<SynchronizationContext?>();
        new Thread(() =>
        {
            SynchronizationContext.SetSynchronizationContext(context);
            _ = ReceiveAsync();
        }).Start();
        Assert.Same(context, await done.Task.WaitAsync(Patience, Token));

        async Task ReceiveAsync()
        {
            await Record.ExceptionAsync(async () => await pair.Left.Endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Token));
            done.SetResult(SynchronizationContext.Current);
        }
    }

    [Fact]
    public async Task WhatFlowsWithTheCallerFlowsAndStaysOffTheThread()
    {
        await using EndpointPair pair = Open(Fabric.Tcp);
        var flowing = new AsyncLocal<int>();
        for (int i = 1; i < 20; i++)
        {
            Assert.Equal(i, await FlowAsync(i).WaitAsync(Patience, Token));
            Assert.Equal(0, await FlowAsync(0).WaitAsync(Patience, Token));
        }

        async Task<int> FlowAsync(int value)
        {
            if (value != 0)
                flowing.Value = value;
            using RmaBuffer buffer = pair.Left.Pool.Rent(64);
            await EndOfAsync(pair.Left.Endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(2), Token)).ConfigureAwait(false);
            return flowing.Value;
        }
    }

    private static EndpointPair Open(string fabric, RmaProgress progress = RmaProgress.Endpoint, ILoggerFactory? logging = null) => new(
        fabric,
        o =>
        {
            o.Endpoint.Continuations = RmaContinuations.Inline;
            o.Endpoint.Progress = progress;
        },
        logging: logging);

    private static async Task<string?> EndOfAsync(ValueTask<RmaReceiveResult> receiving)
    {
        try
        {
            await receiving.ConfigureAwait(false);
            return null;
        }
        catch (Exception e) when (e is RmaTimeoutException or OperationCanceledException)
        {
            return Thread.CurrentThread.Name;
        }
    }

    private static async Task<(string? Thread, int Depth)> PingPongAsync(EndpointPair.Side side, int rounds)
    {
        using RmaBuffer sent = side.Pool.Rent(64);
        using RmaBuffer received = side.Pool.Rent(64);
        for (int i = 0; i < rounds; i++)
        {
            ValueTask<RmaReceiveResult> answer = side.Endpoint.ReceiveAsync(received, cancellationToken: Token);
            await side.Endpoint.SendAsync(sent, side.Peer, cancellationToken: Token).ConfigureAwait(false);
            await answer.ConfigureAwait(false);
        }
        return (Thread.CurrentThread.Name, new StackTrace().FrameCount);
    }

    private static async Task AnswerAsync(EndpointPair.Side side, int rounds)
    {
        using RmaBuffer sent = side.Pool.Rent(64);
        using RmaBuffer received = side.Pool.Rent(64);
        for (int i = 0; i < rounds; i++)
        {
            await side.Endpoint.ReceiveAsync(received, cancellationToken: Token).ConfigureAwait(false);
            await side.Endpoint.SendAsync(sent, side.Peer, cancellationToken: Token).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Returns the threads on which the runs continued. A run that has ended before it is awaited continues on the
    /// current thread.
    /// </summary>
    private static async Task<HashSet<string?>> RunAsync(RmaBatch batch)
    {
        HashSet<string?> threads = [];
        for (int i = 0; i < 50; i++)
        {
            await batch.RunAsync(cancellationToken: Token).ConfigureAwait(false);
            threads.Add(Thread.CurrentThread.Name);
        }
        return threads;
    }

    private sealed class ThreadEachContext : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state) => new Thread(() =>
        {
            SetSynchronizationContext(this);
            d(state);
        }).Start();
    }
}
