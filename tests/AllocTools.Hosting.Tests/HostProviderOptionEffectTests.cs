using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that the provider of page-locked memory does what the configuration says.</summary>
public sealed class HostProviderOptionEffectTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [EffectOf("Provider:Locking")]
    [InlineData("Required", true)]
    [InlineData("BestEffort", true)]
    [InlineData("None", false)]
    public async Task Locking(string locking, bool locked)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "Pool": { "MaxRegisteredBytes": "2 MiB", "Provider": { "Locking": "{{locking}}" } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("Pool"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        using (RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(4096))
            Assert.Equal(locked, Mapping.FlagsOf(buffer.Address).Contains(" lo", StringComparison.Ordinal));
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:Endpoint:OperationTimeout", "Provider:Endpoint:MaxOutstanding", "Provider:Endpoint:MaxMessageLength")]
    public async Task What_the_endpoint_may_do()
    {
        using IHost host = await StartAsync("""{ "OperationTimeout": "50 ms", "MaxOutstanding": 2, "MaxMessageLength": 100 }""");
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(200);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        var late = await Assert.ThrowsAsync<RmaTimeoutException>(() => endpoint.ReceiveAsync(buffer, cancellationToken: Cancelled).AsTask());
        Assert.Contains("within 0.05", late.Message, StringComparison.Ordinal);
        var tooLong = Assert.ThrowsAny<ArgumentException>(() => endpoint.TryPost(RmaOperation.Send(buffer.Slice(0, 101), self)));
        Assert.Contains("Endpoint:MaxMessageLength, 100 bytes", tooLong.Message, StringComparison.Ordinal);
        Assert.True(endpoint.TryPost(RmaOperation.Receive(buffer)));
        Assert.True(endpoint.TryPost(RmaOperation.Receive(buffer)));
        Assert.False(endpoint.TryPost(RmaOperation.Receive(buffer)));
        await endpoint.DisposeAsync();
    }

    /// <summary>A receive times out only if somebody makes progress.</summary>
    [Theory]
    [EffectOf("Provider:Endpoint:Progress")]
    [InlineData("Endpoint", true)]
    [InlineData("Caller", false)]
    public async Task Who_makes_progress(string progress, bool endsByItself)
    {
        using IHost host = await StartAsync($$"""{ "Progress": "{{progress}}" }""");
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(200);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(1), Cancelled).AsTask();
        if (!endsByItself)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(200), Cancelled);
            Assert.False(receiving.IsCompleted);
            while (!receiving.IsCompleted)
                endpoint.Poll([]);
        }
        await Assert.ThrowsAsync<RmaTimeoutException>(() => receiving);
    }

    [Theory]
    [EffectOf("Provider:Endpoint:Continuations")]
    [InlineData("ThreadPool", false)]
    [InlineData("Inline", true)]
    public async Task Where_what_is_awaited_goes_on(string continuations, bool isInline)
    {
        using IHost host = await StartAsync($$"""{ "Continuations": "{{continuations}}", "SpinTime": "0 s" }""");
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(200);
        await Assert.ThrowsAsync<RmaTimeoutException>(ReceiveAsync);

        async Task ReceiveAsync()
        {
            try
            {
                await endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Cancelled).ConfigureAwait(false);
            }
            finally
            {
                Assert.Equal(isInline, Thread.CurrentThread.Name == "AllocTools progress");
            }
        }
    }

    /// <summary>A send for which there is no receive is overdue.</summary>
    [Fact]
    [EffectOf("Provider:Endpoint:SlowPeerTime")]
    public async Task When_a_peer_is_slow()
    {
        using IHost host = await StartAsync("""{ "SlowPeerTime": "250 ms" }""");
        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        using RmaBuffer buffer = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(200);
        await using IAsyncEnumerator<RmaPeerChange> changes = endpoint.ReadPeerChangesAsync(Cancelled).GetAsyncEnumerator(Cancelled);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        Task send = endpoint.SendAsync(buffer, self, Timeout.InfiniteTimeSpan, Cancelled).AsTask();
        Assert.True(await changes.MoveNextAsync());
        Assert.Equal((self, RmaPeerState.Slow), (changes.Current.Peer, changes.Current.State));
        using RmaBuffer received = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(200);
        await endpoint.ReceiveAsync(received, cancellationToken: Cancelled);
        await send;
    }

    /// <summary>Tests the bound options on a transport that refuses each write.</summary>
    [Fact]
    [EffectOf("Provider:Endpoint:Retry:MaxRetries", "Provider:Endpoint:Retry:Delay", "Provider:Endpoint:Retry:MaxDelay")]
    public async Task How_often_a_write_is_repeated()
    {
        using IHost host = await StartAsync("""{ "Retry": { "MaxRetries": 5, "Delay": "20 ms", "MaxDelay": "40 ms" } }""");
        IRmaMemoryPool pool = host.Services.GetRequiredService<IRmaMemoryPool>();
        RmaEndpointOptions options = host.Services.GetRequiredService<IOptions<HostProviderOptions>>().Value.Endpoint;
        await using var endpoint = new RmaEndpoint((RmaContext)pool.Context, new RefusingDriver(), options);
        using RmaBuffer buffer = pool.Rent(200);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer([1]), exposure.Remote);
        long start = Stopwatch.GetTimestamp();
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => endpoint.WriteAsync(buffer, remote, cancellationToken: Cancelled).AsTask());
        Assert.Equal(6, error.Attempts);
        // Half of each delay is random: 20, 40, 40, 40 and 40 ms; without MaxDelay it would be 620 ms.
        Assert.InRange(Stopwatch.GetElapsedTime(start), TimeSpan.FromMilliseconds(90), TestTime.Seconds(30));
    }

    /// <summary>A transport that accepts nothing for the moment.</summary>
    private sealed class RefusingDriver : RmaEndpointDriver
    {
        private const int NoBuffers = 105;

        public override ReadOnlyMemory<byte> Address { get; } = new byte[] { 7 };

        public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) => new(address.ToArray());

        public override ulong InsertPeer(RmaDriverPeer peer) => 1;

        public override RmaPostResult Post(RmaDriverOperation operation) => RmaPostResult.Refused(NoBuffers);

        public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal) => RmaReadResult.Nothing;

        public override bool Close(bool isRecalled) => true;
    }

    [Fact]
    public async Task What_the_endpoint_may_not_be_told_fails_the_start()
    {
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => StartAsync("""{ "MaxOutstanding": 0, "SpinTime": "2 s", "MaxOutstandin": 1, "CompletionLevel": "Transmit" }"""));
        Assert.Equal(
            [
                "Pool:Provider:Endpoint:MaxOutstanding is 0; it must be between 1 and 65,536 operations.",
                "Pool:Provider:Endpoint:SpinTime is 2 seconds; it must be between 0 and 1 second.",
                "Unknown option Pool:Provider:Endpoint:MaxOutstandin. Did you mean MaxOutstanding?",
            ],
            error.Failures.Order(StringComparer.Ordinal));
    }

    private static async Task<IHost> StartAsync(string endpoint)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "Pool": { "MaxRegisteredBytes": "2 MiB", "Access": "RemoteWrite", "Provider": { "Endpoint": {{endpoint}} } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("Pool"));
        IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        return host;
    }
}
