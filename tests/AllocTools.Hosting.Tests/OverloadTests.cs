using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

public sealed class OverloadTests
{
    private const string Json = """{ "AllocTools": { "MaxRegisteredBytes": 8192000, "Provider": { "Locking": "None" } } }""";

    public static TheoryData<string, string, long> Overloads => new()
    {
        // how it is added, the pool's name, its cap
        { "plain", "default", 1L << 30 },
        { "delegate", "default", 4_096_000 },
        { "section", "default", 8_192_000 },
        { "named", "x", 1L << 30 },
        { "named, delegate", "x", 4_096_000 },
        { "named, section", "x", 8_192_000 },
    };

    [Theory]
    [MemberData(nameof(Overloads))]
    public async Task Each_overload_adds_a_pool_with_its_options(string overload, string poolName, long limit)
    {
        await using ServiceProvider services = Build(overload, out IRmaMemoryPoolBuilder builder);

        bool isNamed = poolName != "default";
        IRmaMemoryPool pool = isNamed ? services.GetRequiredKeyedService<IRmaMemoryPool>("x") : services.GetRequiredService<IRmaMemoryPool>();
        object typed = isNamed
            ? services.GetRequiredKeyedService<RmaMemoryPool<HostProvider>>("x")
            : services.GetRequiredService<RmaMemoryPool<HostProvider>>();
        IRmaEndpoint endpoint = isNamed ? services.GetRequiredKeyedService<IRmaEndpoint>("x") : services.GetRequiredService<IRmaEndpoint>();

        Assert.Equal(poolName, pool.Name);
        Assert.Equal(limit, pool.GetStatistics().LimitBytes);
        Assert.Same(pool, typed);
        Assert.Same(pool.Context, endpoint.Context);
        Assert.Equal(isNamed ? "x" : Options.DefaultName, builder.Name);
        using RmaBuffer buffer = pool.Rent(100);
        Assert.Equal(100, buffer.Length);
    }

    [Theory]
    [InlineData("section", "")]
    [InlineData("named, section", "x")]
    public async Task A_section_binds_the_options_of_this_librarys_provider(string overload, string optionsName)
    {
        await using ServiceProvider services = Build(overload, out _);

        var options = services.GetRequiredService<IOptionsMonitor<HostProviderOptions>>();
        Assert.Equal(PageLocking.None, options.Get(optionsName).Locking);
        Assert.Equal(PageLocking.BestEffort, options.Get("another").Locking);
    }

    [Fact]
    public async Task The_builder_goes_over_what_the_section_says()
    {
        var services = new ServiceCollection();
        IRmaMemoryPoolBuilder builder = services.AddRmaMemoryPool<HostProvider>("x", Section());
        Assert.Same(services, builder.Services);
        builder
            .Configure(o => o.MaxRegisteredBytes = 16_384_000)
            .ConfigureProvider<HostProviderOptions>(o => o.Locking = PageLocking.Required);
        await using ServiceProvider provider = services.BuildServiceProvider();

        Assert.Equal(16_384_000, provider.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>().Get("x").MaxRegisteredBytes);
        Assert.Equal(PageLocking.Required, provider.GetRequiredService<IOptionsMonitor<HostProviderOptions>>().Get("x").Locking);
    }

    [Fact]
    public void Arguments_that_are_missing_are_named()
    {
        var services = new ServiceCollection();
        Assert.Throws<ArgumentNullException>("services", () => ((IServiceCollection)null!).AddRmaMemoryPool<HostProvider>());
        Assert.Throws<ArgumentNullException>("configure", () => services.AddRmaMemoryPool<HostProvider>((Action<RmaMemoryPoolOptions>)null!));
        Assert.Throws<ArgumentNullException>("section", () => services.AddRmaMemoryPool<HostProvider>("x", (IConfigurationSection)null!));
        Assert.Throws<ArgumentException>("name", () => services.AddRmaMemoryPool<HostProvider>(""));
        Assert.Empty(services);
    }

    private static ServiceProvider Build(string overload, out IRmaMemoryPoolBuilder builder)
    {
        var services = new ServiceCollection();
        builder = overload switch
        {
            "plain" => services.AddRmaMemoryPool<HostProvider>(),
            "delegate" => services.AddRmaMemoryPool<HostProvider>(o => o.MaxRegisteredBytes = 4_096_000),
            "section" => services.AddRmaMemoryPool<HostProvider>(Section()),
            "named" => services.AddRmaMemoryPool<HostProvider>("x"),
            "named, delegate" => services.AddRmaMemoryPool<HostProvider>("x", o => o.MaxRegisteredBytes = 4_096_000),
            "named, section" => services.AddRmaMemoryPool<HostProvider>("x", Section()),
            _ => throw new ArgumentOutOfRangeException(nameof(overload)),
        };
        return services.BuildServiceProvider(new ServiceProviderOptions { ValidateOnBuild = true, ValidateScopes = true });
    }

    private static IConfigurationSection Section() => TestHost.CreateBuilder(Json).Configuration.GetSection("AllocTools");
}
