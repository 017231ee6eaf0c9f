using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry.Metrics;

namespace AllocTools.AotSmoke;

/// <summary>The application: an unnamed pool, five named ones, a multi-rail and connections over two of them each, their health checks and their metrics.</summary>
internal sealed class SmokeApplication : IDisposable
{
    private readonly List<Metric> _exported = [];
    private readonly IHost _host;

    public SmokeApplication()
    {
        HostApplicationBuilder builder = SmokeHost.CreateBuilder();
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection(PoolNames.UnnamedSection));
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(PoolNames.Peer, builder.Configuration.GetSection(PoolNames.Peer));
        builder.Services.AddRmaMemoryPool<HostProvider>(PoolNames.Scratch, builder.Configuration.GetSection(PoolNames.Scratch));
        builder.Services.AddRmaMemoryPool<UcxProvider>(PoolNames.Ucx, builder.Configuration.GetSection(PoolNames.Ucx));
        builder.Services.AddRmaMemoryPool<MpiProvider>(PoolNames.Mpi, builder.Configuration.GetSection(PoolNames.Mpi));
        builder.Services.AddRmaMemoryPool<ThirdPartyProvider>(PoolNames.Third, builder.Configuration.GetSection(PoolNames.Third));
        builder.Services.AddRmaMultiRail(builder.Configuration.GetSection(PoolNames.MultiRailSection));
        builder.Services.AddRmaConnections(PoolNames.Ucx);
        builder.Services.AddRmaConnections(PoolNames.Scratch);
        builder.Services.AddSingleton<SmokePools>();
        builder.Services.AddHealthChecks().AddRmaMemoryPool().AddRmaMemoryPool(PoolNames.Peer).AddRmaMemoryPool(PoolNames.Scratch).AddRmaMemoryPool(PoolNames.Ucx).AddRmaMemoryPool(PoolNames.Mpi).AddRmaMemoryPool(PoolNames.Third).AddRmaConnections(PoolNames.Scratch);
        builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddAllocToolsInstrumentation().AddInMemoryExporter(_exported));
        _host = builder.Build();
    }

    public IServiceProvider Services => _host.Services;

    /// <summary>Gets the metrics that OpenTelemetry exported last.</summary>
    public IReadOnlyList<Metric> Exported => _exported;

    public Task StartAsync() => _host.StartAsync();

    public async Task StopAsync()
    {
        IReadOnlyList<IRmaMemoryPool> pools = Services.GetRequiredService<SmokePools>().All;
        await _host.StopAsync();
        foreach (IRmaMemoryPool pool in pools)
        {
            RmaPoolStatistics statistics = pool.GetStatistics();
            Expect.Equal(0, statistics.RegisteredBytes, $"RegisteredBytes of the stopped pool '{pool.Name}'");
            Expect.Equal(statistics.Registrations, statistics.Deregistrations, $"Deregistrations of the stopped pool '{pool.Name}'");
            Expect.Throws<ObjectDisposedException>(() => pool.Rent(1), $"A rent of the stopped pool '{pool.Name}'");
        }
    }

    public void Dispose() => _host.Dispose();
}
