using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

public sealed class ValidationTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("\"MaxRegisteredBytes\": 12", "AllocTools:Hot:MaxRegisteredBytes is 12; it must be ")]
    [InlineData("\"SizeClasses\": [ { \"BlockSize\": 100 } ]", "AllocTools:Hot:SizeClasses:0:BlockSize is 100; it must be ")]
    [InlineData("\"DrainTimeout\": \"-00:00:01\"", "AllocTools:Hot:DrainTimeout is -1 second; it must be ")]
    public async Task Invalid_options_fail_the_start_with_path_and_value_before_anything_is_opened(string option, string expected)
    {
        var journal = new Journal();
        bool started = false;
        HostApplicationBuilder builder = TestHost.CreateBuilder($$"""{ "AllocTools": { "Hot": { {{option}} }, "Cold": { } } }""");
        builder.Services.AddSingleton(journal);
        builder.Services.AddRmaMemoryPool<RecordingProvider>("hot", builder.Configuration.GetSection("AllocTools:Hot"));
        builder.Services.AddRmaMemoryPool<RecordingProvider>("cold", builder.Configuration.GetSection("AllocTools:Cold"));
        builder.Services.AddHostedService(_ => new CallbackService(start: () => started = true));
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        string failure = Assert.Single(error.Failures);
        Assert.StartsWith(expected, failure, StringComparison.Ordinal);
        Assert.Equal("hot", error.OptionsName);
        Assert.False(started);
        Assert.Empty(journal.Events);
    }

    [Fact]
    public async Task All_failures_come_at_once_with_the_pools_name_where_there_is_no_section()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddRmaMemoryPool<HostProvider>(o =>
        {
            o.MaxRegisteredBytes = 1;
            o.MaxSlabBytes = 2;
        });
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Collection(
            error.Failures,
            f => Assert.StartsWith("Pool 'default': MaxRegisteredBytes is 1;", f, StringComparison.Ordinal),
            f => Assert.StartsWith("Pool 'default': MaxSlabBytes is 2;", f, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Options_of_libfabric_are_validated_at_the_start_with_their_path()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "Provider": { "Endpoint": { "MaxOutstanding": 0 } } } }""");
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.StartsWith("AllocTools:Provider:Endpoint:MaxOutstanding is 0;", Assert.Single(error.Failures), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_value_that_cant_be_read_is_named_with_its_path()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "AllocTools": { "MaxSlabBytes": "much" } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();

        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal(
            "AllocTools:MaxSlabBytes is 'much'; it must be a number of bytes, alone or with B, KiB, MiB, GiB or TiB, such as \"64 KiB\".",
            Assert.Single(error.Failures));
    }

    [Fact]
    public async Task Invalid_options_fail_without_a_host_as_well()
    {
        var services = new ServiceCollection();
        services.AddRmaMemoryPool<HostProvider>("x", o => o.MaxIdleDirectBytes = -1);
        await using ServiceProvider provider = services.BuildServiceProvider();

        var error = Assert.Throws<RmaOptionsValidationException>(() => provider.GetRequiredKeyedService<IRmaMemoryPool>("x"));
        Assert.StartsWith("Pool 'x': MaxIdleDirectBytes is -1;", error.Message, StringComparison.Ordinal);
    }
}
