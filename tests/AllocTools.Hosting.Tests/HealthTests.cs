using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests what the health checks of a host report about its pools.</summary>
public sealed class HealthTests
{
    private readonly FakeTimeProvider _time = new();

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_pool_that_serves_is_healthy_with_its_figures()
    {
        using IHost host = await StartAsync<HostProvider>(TestHost.SmallPool);
        using RmaBuffer one = PoolOf(host).Rent(100);
        HealthReportEntry entry = await CheckAsync(host);

        Assert.Equal((HealthStatus.Healthy, "Pool 'default': it is ready."), (entry.Status, entry.Description));
        Assert.Equal(
            ("host", true, 1L << 30, 16384L, 4096L, 1L, 1L, 0L, 1L),
            (entry.Data["provider"], entry.Data["warmedUp"], entry.Data["limitBytes"], entry.Data["registeredBytes"], entry.Data["rentedBytes"],
            entry.Data["rentedBuffers"], entry.Data["hits"], entry.Data["misses"], entry.Data["registrations"]));
    }

    [Fact]
    public async Task Much_of_the_cap_out_degrades_and_idle_memory_does_not()
    {
        using IHost host = await StartAsync<HostProvider>(FourBlocks);
        RmaBuffer[] rented = [PoolOf(host).Rent(1), PoolOf(host).Rent(1), PoolOf(host).Rent(1)];
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(host)).Status);
        RmaBuffer last = PoolOf(host).Rent(1);
        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Equal("Pool 'default': 256 KiB (262,144 bytes) of 256 KiB (262,144 bytes) are rented (100 %). Return buffers sooner, or raise MaxRegisteredBytes.", entry.Description);
        last.Dispose();
        foreach (RmaBuffer buffer in rented)
            buffer.Dispose();
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(host)).Status);
    }

    [Fact]
    public async Task The_share_is_configurable()
    {
        using IHost host = await StartAsync<HostProvider>(FourBlocks, health: h => h.MaxRentedShare = 0.25);
        using RmaBuffer one = PoolOf(host).Rent(1);
        Assert.Equal(HealthStatus.Degraded, (await CheckAsync(host)).Status);
    }

    [Fact]
    public async Task Who_waits_for_long_degrades()
    {
        using IHost host = await StartAsync<HostProvider>(FourBlocks, health: h => h.MaxWait = TimeSpan.FromSeconds(3));
        RmaBuffer big = PoolOf(host).Rent(150_000);
        Task<RmaBuffer> waiter = PoolOf(host).RentAsync(150_000, Cancelled).AsTask();
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(host)).Status);
        _time.Advance(TimeSpan.FromSeconds(4));
        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal((HealthStatus.Degraded, "Pool 'default': 1 request waits for room, the oldest for 00:00:04."), (entry.Status, entry.Description));
        big.Dispose();
        (await waiter.WaitAsync(TestHost.Patience, Cancelled)).Dispose();
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(host)).Status);
    }

    [Fact]
    public async Task A_registration_that_failed_degrades_for_a_while()
    {
        var journal = new Journal();
        using IHost host = await StartAsync<RecordingProvider>(FourBlocks, journal);
        journal.RegisterFails = new RmaRegistrationException("no room in the card's table", "fi_mr_regattr", 65536, "recording", 12, "ENOMEM");
        Assert.Throws<RmaRegistrationException>(() => PoolOf(host).Rent(1));
        journal.RegisterFails = null;
        PoolOf(host).Rent(1).Dispose();

        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Equal($"Pool 'default': a registration failed at {_time.GetUtcNow():O}: no room in the card's table.", entry.Description);
        Assert.Equal((1L, "no room in the card's table"), (entry.Data["registrationFailures"], entry.Data["lastRegistrationFailure"]));
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(host)).Status);
    }

    [Fact]
    public async Task A_lost_provider_is_unhealthy()
    {
        var journal = new Journal();
        using IHost host = await StartAsync<RecordingProvider>(FourBlocks, journal);
        journal.Lost = new RmaException("the device is gone");
        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal((HealthStatus.Unhealthy, "Pool 'default': provider 'recording' is lost: the device is gone."), (entry.Status, entry.Description));
        Assert.Same(journal.Lost, entry.Exception);
    }

    [Fact]
    public async Task A_warm_up_that_failed_in_the_background_is_unhealthy_and_the_pool_serves()
    {
        var journal = new Journal { RegisterFails = new RmaRegistrationException("not now", "fi_mr_regattr", 16384, "recording", 12, "ENOMEM") };
        using var log = new LogRecorder();
        using IHost host = await StartAsync<RecordingProvider>(
            options =>
            {
                TestHost.SmallPool(options);
                options.WarmUp = RmaWarmUp.Background;
            },
            journal,
            log: log);
        await log.Logged(LogRecorder.WarmUpFailed);
        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal((HealthStatus.Unhealthy, "Pool 'default': the warm-up failed: not now."), (entry.Status, entry.Description));
        journal.RegisterFails = null;
        PoolOf(host).Rent(1).Dispose();
    }

    [Fact]
    public async Task A_closed_pool_is_unhealthy_or_what_the_application_says()
    {
        using IHost host = await StartAsync<HostProvider>(FourBlocks, failureStatus: HealthStatus.Degraded);
        PoolOf(host).Dispose();
        HealthReportEntry entry = await CheckAsync(host);
        Assert.Equal((HealthStatus.Degraded, "Pool 'default': it is closed."), (entry.Status, entry.Description));
    }

    [Fact]
    public async Task Named_pools_on_libfabric_have_checks_of_their_own_with_its_version()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "A": { "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1" } } }""");
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("a", builder.Configuration.GetSection("A"));
        builder.Services.AddRmaMemoryPool<HostProvider>("b");
        builder.Services.AddHealthChecks().AddRmaMemoryPool("a", tags: ["ready"]).AddRmaMemoryPool("b", name: "b's");
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Cancelled);
        Assert.Equal(["b's", "rma_pool_a"], report.Entries.Keys.Order(StringComparer.Ordinal));
        Assert.Matches(@"^\d+\.\d+", (string)report.Entries["rma_pool_a"].Data["libraryVersion"]);
        Assert.Equal(["ready"], report.Entries["rma_pool_a"].Tags);
        await host.StopAsync(Cancelled);
    }

    [Theory]
    [InlineData(0, "MaxRentedShare is 0; it must be between 0.01 and 1.")]
    [InlineData(2, "MaxRentedShare is 2; it must be between 0.01 and 1.")]
    public void Thresholds_have_ranges(double share, string expected)
    {
        var error = Assert.Throws<ArgumentOutOfRangeException>(() => new ServiceCollection().AddHealthChecks().AddRmaMemoryPool(configure: h => h.MaxRentedShare = share));
        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
    }

    private static void FourBlocks(RmaMemoryPoolOptions options)
    {
        options.MaxRegisteredBytes = 256 << 10;
        options.MaxSlabBytes = 64 << 10;
        options.MaxIdleDirectBytes = 0;
        options.SizeClasses.Add(new() { BlockSize = 64 << 10 });
    }

    private static IRmaMemoryPool PoolOf(IHost host) => host.Services.GetRequiredService<IRmaMemoryPool>();

    private static async Task<HealthReportEntry> CheckAsync(IHost host) =>
        (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Cancelled)).Entries["rma_pool_default"];

    private async Task<IHost> StartAsync<TProvider>(
        Action<RmaMemoryPoolOptions> configure,
        Journal? journal = null,
        Action<Health.RmaMemoryPoolHealthOptions>? health = null,
        HealthStatus? failureStatus = null,
        LogRecorder? log = null)
        where TProvider : class, IRmaProvider
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(log: log);
        builder.Services.AddSingleton<TimeProvider>(_time);
        builder.Services.AddSingleton(journal ?? new Journal());
        builder.Services.AddRmaMemoryPool<TProvider>(options =>
        {
            configure(options);
            // With a clock that does not advance, the drain of a failed test with a rented buffer would never end.
            options.DrainTimeout = TimeSpan.Zero;
        });
        builder.Services.AddHealthChecks().AddRmaMemoryPool(configure: health, failureStatus: failureStatus);
        IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        return host;
    }
}
