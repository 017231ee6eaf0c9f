using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>What the configuration says is what the pool does. DrainTimeout is in <see cref="ShutdownTests"/>.</summary>
public sealed class OptionEffectTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
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
    public async Task Max_registered_bytes()
    {
        using IHost host = await StartAsync("""
            "MaxRegisteredBytes": 65536, "SizeClasses": [ { "BlockSize": 65536 } ]
            """);

        using RmaBuffer all = Pool(host).Rent(65536);
        var error = Assert.Throws<RmaPoolExhaustedException>(() => Pool(host).Rent(1));
        Assert.Contains("65536", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(65536, 1)]
    [InlineData(262144, 4)]
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
    public async Task Max_idle_direct_bytes(long maxIdle, long registered)
    {
        using IHost host = await StartAsync($$"""
            "MaxIdleDirectBytes": {{maxIdle}}, "SizeClasses": [ { "BlockSize": 4096 } ]
            """);

        Pool(host).Rent(65536).Dispose();
        Assert.Equal(registered, Statistics(host).RegisteredBytes);
    }

    [Fact]
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

    private static async Task<IHost> StartAsync(string options, TimeProvider? time = null)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "Pool": { {{options}}, "Provider": { "Locking": "None" } } }""");
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
