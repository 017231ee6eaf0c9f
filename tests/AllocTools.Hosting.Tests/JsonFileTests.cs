using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests the host as an application uses it: with the defaults, and an appsettings.json.</summary>
public sealed class JsonFileTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("alloctools-");

    [Fact]
    public async Task Options_come_from_appsettings()
    {
        CancellationToken cancelled = TestContext.Current.CancellationToken;
        await File.WriteAllTextAsync(
            Path.Combine(_folder.FullName, "appsettings.json"),
            """
            {
              "AllocTools": {
                "MaxRegisteredBytes": 1048576,
                "SizeClasses": [ { "BlockSize": 4096, "InitialBlocks": 3 } ],
                "Provider": { "Locking": "None" }
              }
            }
            """,
            cancelled);
        HostApplicationBuilder builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = _folder.FullName });
        builder.Logging.ClearProviders();
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        await host.StartAsync(cancelled);

        RmaPoolStatistics now = host.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
        Assert.Equal(1048576, now.LimitBytes);
        Assert.Equal(3 * 4096, now.RegisteredBytes);
        await host.StopAsync(cancelled);
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
