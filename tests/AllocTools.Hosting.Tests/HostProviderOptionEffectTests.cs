using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>What the configuration says of page-locked memory is what the provider does.</summary>
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
}
