using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace AllocTools.AotSmoke;

/// <summary>Checks that the health checks of the pools and the connections all report healthy.</summary>
internal static class HealthReports
{
    public static async Task CheckAsync(IServiceProvider services)
    {
        HealthReport report = await services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        string[] pools = ["rma_pool_default", "rma_pool_Peer", "rma_pool_Scratch", "rma_pool_Ucx", "rma_pool_Mpi", "rma_pool_Third", "rma_connections_Scratch"];
        Expect.Equal(pools.Length, report.Entries.Count);
        foreach (string pool in pools)
        {
            HealthReportEntry entry = report.Entries[pool];
            Expect.Equal(HealthStatus.Healthy, entry.Status, $"The health of {pool} ({entry.Description})");
            Expect.True(entry.Data.Count > 0, $"{pool} reports no figures.");
        }
    }
}
