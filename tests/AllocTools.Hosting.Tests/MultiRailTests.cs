using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.MultiRail;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests multi-rails from the configuration.</summary>
public sealed class MultiRailTests
{
    private const string Rails = """ "Rails": [ { "Name": "first", "Pool": "default" }, { "Name": "second", "Pool": "other" } ] """;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task It_moves_bytes_over_the_pools_that_it_names()
    {
        using IHost host = Build($$"""{ {{Rails}}, "StripeLength": "4 KiB" }""");
        await host.StartAsync(Cancelled);
        var rails = host.Services.GetRequiredService<RmaMultiRail>();
        Assert.Same(rails, host.Services.GetRequiredKeyedService<RmaMultiRail>("default"));
        Assert.Equal(["first", "second"], rails.Rails.Select(static r => r.Name));
        Assert.Same(host.Services.GetRequiredKeyedService<IRmaMemoryPool>("other"), rails.Rails[1].Pool);
        using RmaRailMemory source = rails.Rent(64 << 10);
        using RmaRailMemory target = rails.Rent(64 << 10);
        using RmaRailExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RmaRailRegion region = rails.Import(rails.InsertPeer(rails.Address.Span), exposure.ToArray());
        source.Span.Fill(7);
        await rails.WriteAsync(source, region, cancellationToken: Cancelled);
        Assert.Equal(64 << 10, target.Span.Count((byte)7));
        List<Reading> readings = Reading.All(host.Services);
        Assert.Equal(64 << 10, readings.Where(static r => r.Instrument == "rma.rail.io By").Sum(static r => r.Value));
        Reading[] links = [.. readings.Where(static r => r.Instrument == "rma.rail.links {link}")];
        Assert.Equal(4, links.Length);
        Assert.All(links, static r => Assert.Equal(r.Tags.EndsWith("rma.state=up", StringComparison.Ordinal) ? 1 : 0, r.Value));
        Assert.Equal(2, links.Count(static r => r.Tags.StartsWith("rma.multi_rail.name=default rma.rail.name=first", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task It_is_closed_before_its_pools_when_the_host_stops(bool isAddedFirst, bool stopsConcurrently)
    {
        using IHost host = Build($$"""{ {{Rails}} }""", isAddedFirst, stopsConcurrently);
        await host.StartAsync(Cancelled);
        var rails = host.Services.GetRequiredService<RmaMultiRail>();
        rails.InsertPeer(rails.Address.Span);
        IRmaMemoryPool[] pools = [.. rails.Rails.Select(static r => r.Pool)];
        Assert.All(pools, static p => Assert.NotEqual(0, p.GetStatistics().RentedBuffers));
        await host.StopAsync(Cancelled);
        Assert.Throws<ObjectDisposedException>(() => rails.Rent(1));
        Assert.All(pools, static p => Assert.Equal(0, p.GetStatistics().RegisteredBytes));
        Assert.DoesNotContain(Reading.All(host.Services), static r => r.Instrument.StartsWith("rma.rail", StringComparison.Ordinal));
    }

    [Fact]
    public void Each_option_binds()
    {
        using IHost host = Build($$"""
            {
              {{Rails}}, "Policy": "failover", "StripeLength": "64 KiB", "StripesPerRail": 7, "StripeTimeout": "8 s", "TransferTimeout": "never",
              "Delay": "9 ms", "MaxDelay": "10 s", "LateWriteTime": "11 s"
            }
            """);
        RmaMultiRailOptions options = host.Services.GetRequiredService<IOptionsMonitor<RmaMultiRailOptions>>().Get("default");
        Assert.Equal([("first", "default"), ("second", "other")], options.Rails.Select(static r => (r.Name, r.Pool)));
        Assert.Equal((RmaRailPolicy.Failover, 64 << 10, 7), (options.Policy, options.StripeLength, options.StripesPerRail));
        Assert.Equal((TimeSpan.FromSeconds(8), Timeout.InfiniteTimeSpan), (options.StripeTimeout, options.TransferTimeout));
        Assert.Equal((TimeSpan.FromMilliseconds(9), TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(11)), (options.Delay, options.MaxDelay, options.LateWriteTime));
    }

    [Theory]
    [InlineData("""{ }""", "MultiRail:Rails has 0 entries; it must have between 1 and 16.")]
    [InlineData("""{ "Rails": [ { "Name": "a", "Pool": "nowhere" } ] }""", "MultiRail:Rails:0:Pool is 'nowhere', but no pool of that name was added. The pools are 'default', 'other'.")]
    [InlineData("""{ "Rails": [ { "Name": "a b" } ] }""", "MultiRail:Rails:0:Name is 'a b'; it must have between 1 and 64 printable ASCII characters.")]
    [InlineData("""{ "Rails": [ { "Name": "a" } ], "StripesPerRail": 0 }""", "MultiRail:StripesPerRail is 0; it must be between 1 and 256 stripes.")]
    [InlineData("""{ "Rails": [ { "Name": "a" } ], "MaxDelay": "1 ms" }""", "MultiRail:MaxDelay is 1 ms; it must not be shorter than Delay, 100 ms.")]
    [InlineData("""{ "Rails": [ { "Name": "a" } ], "Polcy": "Stripe" }""", "Unknown option MultiRail:Polcy. Did you mean Policy?")]
    public async Task What_cant_be_used_fails_the_start(string section, string message)
    {
        using IHost host = Build(section);
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal([message], error.Failures);
    }

    private static IHost Build(string section, bool isAddedFirst = false, bool stopsConcurrently = false)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""
            {
              "Pool": { "MaxRegisteredBytes": "8 MiB", "Access": "RemoteRead, RemoteWrite" },
              "Other": { "MaxRegisteredBytes": "8 MiB", "Access": "RemoteRead, RemoteWrite" },
              "MultiRail": {{section}}
            }
            """);
        builder.Services.Configure<HostOptions>(o => o.ServicesStopConcurrently = stopsConcurrently);
        if (isAddedFirst)
            builder.Services.AddRmaMultiRail(builder.Configuration.GetSection("MultiRail"));
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("Pool"));
        builder.Services.AddRmaMemoryPool<HostProvider>("other", builder.Configuration.GetSection("Other"));
        if (!isAddedFirst)
            builder.Services.AddRmaMultiRail(builder.Configuration.GetSection("MultiRail"));
        return builder.Build();
    }
}
