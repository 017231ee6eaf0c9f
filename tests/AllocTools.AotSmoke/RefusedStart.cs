using AllocTools.Libfabric;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace AllocTools.AotSmoke;

/// <summary>A host whose configuration has mistakes must not start, and must name each of them.</summary>
internal static class RefusedStart
{
    /// <summary>The beginning of each failure.</summary>
    private static readonly string[] Expected =
    [
        "Broken:MaxSlabBytes is 1,024;",
        "Broken:Provider:Endpoint:SpinTime is 2 seconds;",
        "Broken:SizeClasses:0:BlockSize is 100;",
        "Unknown option Broken:MaxRegisteredByte.",
        "Unknown option Broken:Provider:Endpoint:MaxOutstandin.",
    ];

    public static async Task CheckAsync()
    {
        HostApplicationBuilder builder = SmokeHost.CreateBuilder();
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection(PoolNames.BrokenSection));
        using IHost host = builder.Build();
        string[] failures = [.. (await FailuresOfStartAsync(host)).Order(StringComparer.Ordinal)];
        Expect.True(
            failures.Length == Expected.Length && failures.Zip(Expected).All(pair => pair.First.StartsWith(pair.Second, StringComparison.Ordinal)),
            $"The start failed with:\n  {string.Join("\n  ", failures)}\nIt should fail with:\n  {string.Join("\n  ", Expected)}");
    }

    private static async Task<IEnumerable<string>> FailuresOfStartAsync(IHost host)
    {
        try
        {
            await host.StartAsync();
        }
        catch (OptionsValidationException e)
        {
            return e.Failures;
        }
        throw new CheckFailedException("A host with mistakes in its configuration started.");
    }
}
