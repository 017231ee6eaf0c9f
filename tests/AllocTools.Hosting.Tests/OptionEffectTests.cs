using AllocTools.Caching;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>
/// Tests that the pool does what the configuration says. DrainTimeout is tested in <see cref="ShutdownTests"/>.
/// </summary>
public sealed class OptionEffectTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    [EffectOf("SizeClasses:0:BlockSize", "SizeClasses:0:InitialBlocks")]
    public async Task Size_classes_and_initial_blocks()
    {
        using IHost host = await StartAsync("""
            "SizeClasses": [ { "BlockSize": 8192, "InitialBlocks": 4 }, { "BlockSize": 65536, "InitialBlocks": 2 } ]
            """);

        IReadOnlyList<RmaSizeClassStatistics> classes = Statistics(host).SizeClasses;
        Assert.Equal(["8192", "65536", "direct", "user"], classes.Select(c => c.Name));
        Assert.Equal([4, 2, 0, 0], classes.Select(c => c.TotalBuffers));
    }

    [Fact]
    [EffectOf("MaxRegisteredBytes")]
    public async Task Max_registered_bytes()
    {
        using IHost host = await StartAsync("""
            "MaxRegisteredBytes": 65536, "SizeClasses": [ { "BlockSize": 65536 } ]
            """);

        using RmaBuffer all = Pool(host).Rent(65536);
        var error = Assert.Throws<RmaPoolExhaustedException>(() => Pool(host).Rent(1));
        Assert.Contains("64 KiB (65,536 bytes)", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(65536, 1)]
    [InlineData(262144, 4)]
    [EffectOf("MaxSlabBytes")]
    public async Task Max_slab_bytes(long maxSlabBytes, long blocks)
    {
        using IHost host = await StartAsync($$"""
            "MaxSlabBytes": {{maxSlabBytes}}, "SizeClasses": [ { "BlockSize": 65536 } ]
            """);

        Pool(host).Rent(1).Dispose();
        Assert.Equal(blocks, Statistics(host).SizeClasses[0].TotalBuffers);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(65536, 65536)]
    [EffectOf("MaxIdleDirectBytes")]
    public async Task Max_idle_direct_bytes(long maxIdle, long registered)
    {
        using IHost host = await StartAsync($$"""
            "MaxIdleDirectBytes": {{maxIdle}}, "SizeClasses": [ { "BlockSize": 4096 } ]
            """);

        Pool(host).Rent(65536).Dispose();
        Assert.Equal(registered, Statistics(host).RegisteredBytes);
    }

    [Theory]
    [InlineData("\"MaxBytes\": 100", 1)]
    [InlineData("\"MaxEntries\": 2", 2)]
    [InlineData("", 3)]
    [EffectOf("RegistrationCache:MaxBytes", "RegistrationCache:MaxEntries")]
    public async Task Registration_cache(string options, int entries)
    {
        using IHost host = await StartAsync($$"""
            "RegistrationCache": { {{options}} }
            """);

        var cache = host.Services.GetRequiredService<RmaRegistrationCache>();
        for (int i = 0; i < 3; i++)
            cache.Register(new byte[100]).Dispose();
        Assert.Equal(entries, cache.GetStatistics().Entries);
        Assert.Same(Pool(host), cache.Pool);
    }

    [Fact]
    [EffectOf("Access")]
    public async Task Access()
    {
        using IHost host = await StartAsync("""
            "Access": "RemoteRead"
            """);

        using RmaBuffer buffer = Pool(host).Rent(1);
        using (RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead))
            Assert.Equal(RmaAccess.RemoteRead, exposure.Remote.Access & RmaAccess.RemoteRead);
        Assert.Throws<InvalidOperationException>(() => buffer.Expose(RmaAccess.RemoteWrite));
    }

    [Theory]
    [InlineData("Shared", 0)]
    [InlineData("PerExposure", 1)]
    [EffectOf("Isolation")]
    public async Task Isolation(string isolation, long registrations)
    {
        using IHost host = await StartAsync($$"""
            "Access": "RemoteRead", "Isolation": "{{isolation}}"
            """);

        using RmaBuffer buffer = Pool(host).Rent(1);
        long before = Statistics(host).Registrations;
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead);
        Assert.Equal(before + registrations, Statistics(host).Registrations);
    }

    [Fact]
    [EffectOf("RentTimeout")]
    public async Task Rent_timeout()
    {
        var time = new FakeTimeProvider();
        using IHost host = await StartAsync(
            """
            "RentTimeout": "00:10:00", "MaxRegisteredBytes": 65536, "SizeClasses": [ { "BlockSize": 65536 } ]
            """,
            time);

        using RmaBuffer all = Pool(host).Rent(65536);
        Task<RmaBuffer> waiter = Pool(host).RentAsync(1, Cancelled).AsTask();
        time.Advance(TimeSpan.FromMinutes(9.9));
        Assert.False(waiter.IsCompleted);
        time.Advance(TimeSpan.FromMinutes(0.1));
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => waiter);
    }

    [Theory]
    [InlineData("\"ClearOnReturn\": true", 0)]
    [InlineData("\"PoisonOnReturn\": true", 0xDD)]
    [InlineData("\"ClearOnReturn\": false", 0x55)]
    [EffectOf("ClearOnReturn", "PoisonOnReturn")]
    public async Task Filling_on_return(string option, byte expected)
    {
        using IHost host = await StartAsync($$"""
            {{option}}, "MaxRegisteredBytes": 65536, "SizeClasses": [ { "BlockSize": 65536, "InitialBlocks": 1 } ]
            """);

        using (RmaBuffer written = Pool(host).Rent(65536))
            written.Span.Fill(0x55);
        using RmaBuffer again = Pool(host).Rent(65536);
        Assert.Equal(-1, again.Span.IndexOfAnyExcept(expected));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [EffectOf("CheckPointers")]
    public async Task Arithmetic_of_pointers(bool isChecked)
    {
        using IHost host = await StartAsync($$"""
            "CheckPointers": {{(isChecked ? "true" : "false")}}
            """);

        using RmaBuffer buffer = Pool(host).Rent(64);
        RmaPointer<long> start = buffer.AsPointer<long>();
        Assert.Equal(64, (start + 8).ByteOffset);
        if (isChecked)
            Assert.Equal("elements", Assert.Throws<ArgumentOutOfRangeException>(() => start + 9).ParamName);
        else
            Assert.Equal(72, (start + 9).ByteOffset);
    }

    [Fact]
    [EffectOf("SizeClassRange:From", "SizeClassRange:To", "SizeClassRange:StepsPerDoubling")]
    public async Task Size_class_range()
    {
        using IHost host = await StartAsync("""
            "SizeClassRange": { "From": "4 KiB", "To": "16 KiB", "StepsPerDoubling": 2 }
            """);
        Assert.Equal(["4096", "6144", "8192", "12288", "16384", "direct", "user"], Statistics(host).SizeClasses.Select(c => c.Name));
    }

    [Theory]
    [EffectOf("IdleRetention", "TrimInterval")]
    [InlineData("\"IdleRetention\": \"00:01:00\", \"TrimInterval\": \"00:00:30\"", 50, 240)]
    [InlineData("\"IdleRetention\": \"00:05:00\", \"TrimInterval\": \"00:01:00\"", 290, 900)]
    public async Task Trimming(string options, int stillThere, int gone)
    {
        var time = new FakeTimeProvider();
        using IHost host = await StartAsync(options + ", \"SizeClasses\": [ { \"BlockSize\": 4096 } ]", time);
        Pool(host).Rent(1).Dispose();
        for (int second = 0; second < stillThere; second += 10)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.NotEqual(0, Statistics(host).RegisteredBytes);
        for (int second = stillThere; second < gone; second += 10)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(0, Statistics(host).RegisteredBytes);
    }

    [Theory]
    [EffectOf("HugePages")]
    [InlineData("Transparent", true)]
    [InlineData("Off", false)]
    public async Task Huge_pages(string pages, bool huge)
    {
        using IHost host = await StartAsync($"\"HugePages\": \"{pages}\"");
        using RmaBuffer buffer = Pool(host).Rent(4 << 20);
        // The kernel's flag for the advice.
        Assert.Equal(huge, Mapping.FlagsOf(buffer.Address).Contains(" hg", StringComparison.Ordinal));
    }

    [Theory]
    [EffectOf("NumaNode")]
    [InlineData("0", true)]
    [InlineData("-1", false)]
    public async Task Numa_node(string node, bool prefers)
    {
        using IHost host = await StartAsync($"\"NumaNode\": {node}");
        using RmaBuffer buffer = Pool(host).Rent(4 << 20);
        buffer.Span.Fill(1);
        Assert.Equal(prefers, Mapping.NumaPolicyOf(buffer.Address).Contains("prefer", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_numa_node_that_is_not_there_fails_the_start()
    {
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => StartAsync("\"NumaNode\": 999"));
        Assert.StartsWith("Pool:NumaNode is 999, but this system has no such node; it has the nodes 0", Assert.Single(error.Failures), StringComparison.Ordinal);
    }

    [Theory]
    [EffectOf("DrainTimeout", "LeakDetection")]
    [InlineData("\"DrainTimeout\": \"00:00:00.020\", \"LeakDetection\": \"All\"", "up to 20 ms", 1)]
    [InlineData("\"DrainTimeout\": \"00:00:00.040\"", "up to 40 ms", 0)]
    public async Task A_buffer_that_is_out_at_the_stop(string options, string waited, int named)
    {
        using var log = new LogRecorder();
        using IHost host = await StartAsync(options, log: log);
        Pool(host).Rent(1);
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);
        Assert.Equal([$"Pool 'default' waits for buffers that are still rented, {waited}: 1, rented by an unknown owner (1; LeakDetection and RmaOwner.Begin name owners)."], log.MessagesOf(LogRecorder.Draining));
        Assert.Equal(named, log.MessagesOf(LogRecorder.StillOut).Length);
    }

    [Fact]
    [EffectOf("WarmUp")]
    public async Task Warm_up_in_the_background()
    {
        using var mayRegister = new ManualResetEventSlim();
        using var log = new LogRecorder();
        var journal = new Journal { Registers = mayRegister.Wait };
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "Pool": { "WarmUp": "Background", "SizeClasses": [ { "BlockSize": 4096, "InitialBlocks": 4 } ] } }""", log);
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(builder.Configuration.GetSection("Pool"));
        using IHost host = builder.Build();
        // With BeforeStart, this would wait forever.
        await host.StartAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);
        Assert.Equal(0, Statistics(host).Registrations);
        mayRegister.Set();
        await log.Logged(LogRecorder.WarmedUp);
        Assert.Equal(4, Statistics(host).SizeClasses[0].IdleBuffers);
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task A_stop_ends_a_warm_up_in_the_background()
    {
        using var held = new HeldRegistrations();
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "Pool": { "WarmUp": "Background", "MaxSlabBytes": 65536, "SizeClasses": [ { "BlockSize": 65536, "InitialBlocks": 1000 } ] } }""");
        builder.Services.AddSingleton(held.Journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>(builder.Configuration.GetSection("Pool"));
        builder.Services.AddHostedService(_ => new CallbackService(stop: held.LetGo));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        Assert.True(await held.HasBegunAsync(Cancelled));
        await host.StopAsync(Cancelled).WaitAsync(TestHost.Patience, Cancelled);
        Assert.InRange(held.Journal.Count("registered"), 1, 100);
        Assert.Equal(held.Journal.Count("registered"), held.Journal.Count("deregistered"));
        Assert.Equal(1, held.Journal.Count("context closed"));
    }

    [Fact]
    [EffectOf("AllowUnknownKeys")]
    public async Task Allow_unknown_keys()
    {
        using IHost host = await StartAsync("\"AllowUnknownKeys\": true, \"Comment\": \"ours\"");
        await Assert.ThrowsAsync<RmaOptionsValidationException>(() => StartAsync("\"Comment\": \"ours\""));
    }

    [Fact]
    public async Task The_environment_goes_over_the_file_and_the_command_line_over_both()
    {
        string prefix = $"ALLOCTOOLS{Guid.NewGuid():N}_";
        Environment.SetEnvironmentVariable(prefix + "AllocTools__MaxRegisteredBytes", "2 MiB");
        Environment.SetEnvironmentVariable(prefix + "AllocTools__SizeClasses__0__InitialBlocks", "3");
        using var log = new LogRecorder();
        using var file = new SettingsFile("""{ "AllocTools": { "MaxRegisteredBytes": "1 MiB", "MaxSlabBytes": "64 KiB", "SizeClasses": [ { "BlockSize": 4096 } ] } }""");
        HostApplicationBuilder builder = file.CreateBuilder(log);
        builder.Configuration.AddEnvironmentVariables(prefix).AddCommandLine(["--AllocTools:MaxSlabBytes", "128 KiB", "--AllocTools:LeakDetection=All"]);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        var pool = host.Services.GetRequiredService<RmaMemoryPool<HostProvider>>();
        Assert.Equal((2 << 20, 128 << 10, RmaLeakDetection.All), (pool.Options.MaxRegisteredBytes, pool.Options.MaxSlabBytes, pool.Options.LeakDetection));
        Assert.Equal(3, pool.GetStatistics().SizeClasses[0].IdleBuffers);
        await host.StopAsync(Cancelled);
        Environment.SetEnvironmentVariable(prefix + "AllocTools__MaxRegisteredBytes", null);
        Environment.SetEnvironmentVariable(prefix + "AllocTools__SizeClasses__0__InitialBlocks", null);
    }

    private static async Task<IHost> StartAsync(string options, TimeProvider? time = null, LogRecorder? log = null)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "Pool": { {{options}}, "Provider": { "Locking": "None" } } }""", log);
        if (time is not null)
            builder.Services.AddSingleton(time);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("Pool"));
        IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        return host;
    }

    private static IRmaMemoryPool Pool(IHost host) => host.Services.GetRequiredService<IRmaMemoryPool>();

    private static RmaPoolStatistics Statistics(IHost host) => Pool(host).GetStatistics();
}
