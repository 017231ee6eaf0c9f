using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests that libfabric's provider does what the configuration says, on the real library.</summary>
[Collection(nameof(LibfabricOptionEffectTests))]
[CollectionDefinition(nameof(LibfabricOptionEffectTests), DisableParallelization = true)] // the test inspects the threads of all endpoints
public sealed class LibfabricOptionEffectTests
{
    private const string Tcp = "\"Provider\": \"tcp;ofi_rxm\", \"Node\": \"127.0.0.1\"";

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [EffectOf("Provider:Provider")]
    [InlineData("\"Provider\": \"shm\"", "shm")]
    [InlineData(Tcp, "tcp;ofi_rxm")]
    public async Task Provider(string options, string expected)
    {
        using IHost host = await StartAsync(options);
        Assert.Equal(expected, PoolOf(host).Context.Traits.ProviderName);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:Domain")]
    public async Task Domain()
    {
        using IHost host = await StartAsync(Tcp + ", \"Domain\": \"lo\"");
        await host.StopAsync(Cancelled);
        string error = await ErrorAsync(Tcp + ", \"Domain\": \"nosuch0\"");
        Assert.Contains("nosuch0", error, StringComparison.Ordinal);
    }

    [Theory]
    [EffectOf("Provider:Node")]
    [InlineData("127.0.0.1")]
    [InlineData("127.0.0.2")]
    public async Task Node(string node)
    {
        using IHost host = await StartAsync($$""" "Provider": "tcp;ofi_rxm", "Node": "{{node}}" """);
        Assert.Equal(IPAddress.Parse(node), AddressOf(host).Address);
        await host.StopAsync(Cancelled);
    }

    [Theory]
    [EffectOf("Provider:AdvertisedNode")]
    [InlineData("192.0.2.7", "192.0.2.7")]
    [InlineData("localhost", "127.0.0.1")]
    public async Task AdvertisedNode(string node, string expected)
    {
        using IHost host = await StartAsync($$""" {{Tcp}}, "AdvertisedNode": "{{node}}" """);
        Assert.Equal(IPAddress.Parse(expected), AddressOf(host).Address);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:Service")]
    public async Task Service()
    {
        int free;
        using (var probe = new TcpListener(IPAddress.Loopback, 0))
        {
            probe.Start();
            free = ((IPEndPoint)probe.LocalEndpoint).Port;
        }
        using IHost host = await StartAsync($$"""{{Tcp}}, "Service": "{{free}}" """);
        Assert.Equal(free, AddressOf(host).Port);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:Access")]
    public async Task Access()
    {
        string error = await ErrorAsync(Tcp + ", \"Access\": \"Local\"");
        Assert.Contains("asks for RemoteWrite by its option Access, but the provider 'tcp;ofi_rxm' gives no remote access: the transport has none, or the provider's own option Access leaves it out.", error, StringComparison.Ordinal);
    }

    [Theory]
    [EffectOf("Provider:VirtualAddressing")]
    [InlineData("true", RmaAddressing.VirtualAddress)]
    [InlineData("false", RmaAddressing.Offset)]
    public async Task Virtual_addressing(string value, RmaAddressing expected)
    {
        using IHost host = await StartAsync($$""" "Provider": "shm", "VirtualAddressing": {{value}} """);
        Assert.Equal(expected, PoolOf(host).Context.Traits.Addressing);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    [EffectOf("Provider:LibraryPath")]
    public async Task Library_path() =>
        Assert.Contains("LibraryPath is '/nowhere/libfabric.so.1', which does not exist", await ErrorAsync("\"LibraryPath\": \"/nowhere/libfabric.so.1\""), StringComparison.Ordinal);

    [Fact]
    [EffectOf("Provider:Endpoint:Progress")]
    public async Task Progress()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"Progress\": \"Caller\" }");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(100);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        using RmaBuffer source = PoolOf(host).Rent(100);
        // Only polling makes progress here: a thread of the endpoint would process the completion on its own.
        Task write = endpoint.WriteAsync(source, remote, Timeout.InfiniteTimeSpan, Cancelled).AsTask();
        while (!write.IsCompleted)
            endpoint.Poll([]);
        await write;
        // Threads of earlier tests may still be ending.
        Assert.True(SpinWait.SpinUntil(() => !ThreadNames().Contains("AllocTools prog"), TimeSpan.FromSeconds(60)));
    }

    [Theory]
    [EffectOf("Provider:Endpoint:OperationTimeout")]
    [InlineData("00:00:00.100")]
    [InlineData("00:00:00.300")]
    public async Task Operation_timeout(string timeout)
    {
        using IHost host = await StartAsync($$"""{{Tcp}}, "Endpoint": { "OperationTimeout": "{{timeout}}" }""");
        using RmaBuffer buffer = PoolOf(host).Rent(100);
        var error = await Assert.ThrowsAsync<RmaTimeoutException>(() => EndpointOf(host).ReceiveAsync(buffer, cancellationToken: Cancelled).AsTask());
        Assert.Contains(TimeSpan.Parse(timeout, null).TotalSeconds.ToString(System.Globalization.CultureInfo.InvariantCulture), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [EffectOf("Provider:Endpoint:MaxOutstanding")]
    public async Task Max_outstanding()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"MaxOutstanding\": 2 }");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(100);
        Assert.True(endpoint.TryPost(RmaOperation.Receive(buffer)));
        Assert.True(endpoint.TryPost(RmaOperation.Receive(buffer)));
        Assert.False(endpoint.TryPost(RmaOperation.Receive(buffer)));
        endpoint.Dispose();
    }

    [Fact]
    [EffectOf("Provider:Endpoint:MaxMessageLength")]
    public async Task Max_message_length()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"MaxMessageLength\": \"1 KiB\" }");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(1025);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        ArgumentException error = Assert.ThrowsAny<ArgumentException>(() => endpoint.TryPost(RmaOperation.Send(buffer, self)));
        Assert.Contains("than Provider:Endpoint:MaxMessageLength, 1 KiB (1,024 bytes).", error.Message, StringComparison.Ordinal);
        endpoint.Dispose();
    }

    [Fact]
    [EffectOf("Provider:Endpoint:MaxUnreceivedMessages")]
    public async Task Max_unreceived_messages()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"MaxUnreceivedMessages\": 1 }");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(10);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        await endpoint.SendAsync(buffer, self, cancellationToken: Cancelled);
        RmaTimeoutException error = await Assert.ThrowsAsync<RmaTimeoutException>(
            () => endpoint.SendAsync(buffer, self, TimeSpan.FromMilliseconds(200), Cancelled).AsTask());
        Assert.Contains("Endpoint:MaxUnreceivedMessages", error.Message, StringComparison.Ordinal);
        endpoint.Dispose();
    }

    [Fact]
    [EffectOf("Provider:Endpoint:Continuations")]
    public async Task Continuations()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"Continuations\": \"Inline\" }");
        using RmaBuffer buffer = PoolOf(host).Rent(100);
        Assert.Equal("AllocTools progress", await TimeOutAsync(EndpointOf(host).ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Cancelled)));

        static async Task<string?> TimeOutAsync(ValueTask<RmaReceiveResult> receiving)
        {
            Assert.IsType<RmaTimeoutException>(await Record.ExceptionAsync(async () => await receiving.ConfigureAwait(false)).ConfigureAwait(false));
            return Thread.CurrentThread.Name;
        }
    }

    [Fact]
    [EffectOf("Provider:Endpoint:MaxNotifications")]
    public async Task Max_notifications()
    {
        using IHost host = await StartAsync(Tcp + ", \"Endpoint\": { \"MaxNotifications\": 1 }");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(10);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        await endpoint.WriteAsync(buffer.Slice(0, 1), remote, 7, cancellationToken: Cancelled);
        await endpoint.WriteAsync(buffer.Slice(0, 1), remote, 8, cancellationToken: Cancelled);
        Assert.True(SpinWait.SpinUntil(() => endpoint.GetStatistics().LostNotifications == 1, TimeSpan.FromSeconds(30)));
        Assert.Contains("because 1 others had not been read", Assert.Throws<RmaNotificationsLostException>(() => endpoint.PollNotifications(new RmaNotification[4])).Message, StringComparison.Ordinal);
        endpoint.Dispose();
    }

    [Fact]
    [EffectOf("Provider:Endpoint:CompletionLevel")]
    public async Task Completion_level()
    {
        // libfabric 1.x's sockets can't tell when a message was delivered to shm's kind of peers; the traits follow the option.
        using IHost transmit = await StartAsync(Tcp + ", \"Endpoint\": { \"CompletionLevel\": \"Transmit\" }");
        Assert.False(PoolOf(transmit).Context.Traits.DeliveryComplete);
        await transmit.StopAsync(Cancelled);
        using IHost delivery = await StartAsync(Tcp);
        Assert.True(PoolOf(delivery).Context.Traits.DeliveryComplete);
        await delivery.StopAsync(Cancelled);
    }

    [Theory]
    [EffectOf("Provider:Endpoint:SpinTime")]
    [InlineData("00:00:00", false)]
    [InlineData("00:00:01", true)]
    public async Task Spin_time(string spin, bool spins)
    {
        using IHost host = await StartAsync($$"""{{Tcp}}, "Endpoint": { "SpinTime": "{{spin}}" }""");
        LibfabricEndpoint endpoint = EndpointOf(host);
        using RmaBuffer buffer = PoolOf(host).Rent(100);
        using RmaBuffer source = PoolOf(host).Rent(100);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        // The write is not awaited: an await would make the progress.
        RmaOperation write = RmaOperation.Write(source, remote);
        Assert.True(SpinWait.SpinUntil(() => endpoint.TryPost(write), TimeSpan.FromSeconds(60)));
        var completions = new RmaCompletion[1];
        Assert.True(SpinWait.SpinUntil(() => endpoint.Poll(completions) == 1, TimeSpan.FromSeconds(60)));
        // The processor time that the endpoint's thread uses after its last completion, or would use. On a busy machine
        // it gets only a small share.
        TimeSpan before = ProgressThreadTime();
        using (var elapsed = new PeriodicTimer(TimeSpan.FromMilliseconds(900)))
            await elapsed.WaitForNextTickAsync(Cancelled);
        TimeSpan used = ProgressThreadTime() - before;
        Assert.True(used > TimeSpan.FromMilliseconds(100) == spins, $"The thread used {used}.");
    }

    [Theory]
    [EffectOf("Provider:Endpoint:LongestPause")]
    [InlineData("00:00:00.001", true)]
    [InlineData("00:00:01", false)]
    public async Task Longest_pause(string pause, bool looksOften)
    {
        using IHost host = await StartAsync($$"""
            "Provider": "shm", "Endpoint": { "LongestPause": "{{pause}}" }
            """);
        // The endpoint is opened when it is requested.
        Assert.NotNull(EndpointOf(host));
        // It is idle for 1 s, then counted until 3 s have passed: without the limit its pauses grow from 10 to 30 ms,
        // so that it polls about 110 times.
        using var idle = new PeriodicTimer(TimeSpan.FromSeconds(1));
        await idle.WaitForNextTickAsync(Cancelled);
        Dictionary<string, long> before = ProgressThreadWaits();
        await idle.WaitForNextTickAsync(Cancelled);
        await idle.WaitForNextTickAsync(Cancelled);
        // Threads of other tests' endpoints may have ended meanwhile.
        long waits = ProgressThreadWaits().Sum(t => t.Value - before.GetValueOrDefault(t.Key));
        Assert.InRange(waits, looksOften ? 181 : 1, looksOften ? long.MaxValue : 180);
    }

    private static IRmaMemoryPool PoolOf(IHost host) => host.Services.GetRequiredService<IRmaMemoryPool>();

    private static LibfabricEndpoint EndpointOf(IHost host) => host.Services.GetRequiredService<LibfabricEndpoint>();

    /// <summary>Returns the address of an endpoint on tcp, which is an IP address (struct sockaddr_in).</summary>
    private static IPEndPoint AddressOf(IHost host)
    {
        ReadOnlySpan<byte> address = EndpointOf(host).Address.Span;
        return new IPEndPoint(new IPAddress(address[4..8]), BinaryPrimitives.ReadUInt16BigEndian(address[2..]));
    }

    private static IEnumerable<string> ThreadNames() => Tasks().Select(NameOf).OfType<string>();

    /// <summary>Returns how long the threads ran or waited for a processor: a busy machine does not reduce the result.</summary>
    /// <remarks>The kernel keeps 15 characters of a thread's name.</remarks>
    private static TimeSpan ProgressThreadTime()
    {
        TimeSpan sum = TimeSpan.Zero;
        foreach (string task in Tasks().Where(t => NameOf(t) == "AllocTools prog"))
        {
            // Documentation/scheduler/sched-stats: nanoseconds on a processor, nanoseconds of waiting for one, times that it ran.
            string[] fields = File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ');
            sum += TimeSpan.FromMicroseconds((long.Parse(fields[0], null) + long.Parse(fields[1], null)) / 1000);
        }
        return sum;
    }

    private static Dictionary<string, long> ProgressThreadWaits() => Tasks()
        .Where(t => NameOf(t) == "AllocTools prog")
        .ToDictionary(t => t, t => long.Parse(File.ReadAllLines(Path.Combine(t, "status")).Single(l => l.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal)).Split(':')[1], null));

    /// <summary>Returns a thread's name; null if it has ended meanwhile.</summary>
    private static string? NameOf(string task)
    {
        try
        {
            return File.ReadAllText(Path.Combine(task, "comm")).Trim();
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static string[] Tasks() => Directory.GetDirectories("/proc/self/task");

    private static async Task<string> ErrorAsync(string options) =>
        (await Assert.ThrowsAsync<RmaPoolStartException>(() => StartAsync(options))).Message;

    private static async Task<IHost> StartAsync(string options)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "AllocTools": { "Access": "RemoteWrite", "Provider": { {{options}} } } }""");
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
        IHost host = builder.Build();
        try
        {
            await host.StartAsync(Cancelled);
            return host;
        }
        catch
        {
            host.Dispose();
            throw;
        }
    }
}
