using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>
/// A typical service: it rents in its constructor and returns in its Dispose, which the container calls after the pool
/// was closed.
/// </summary>
internal sealed class LateWorker : BackgroundService
{
    private readonly RmaBuffer _buffer;

    public LateWorker(IRmaMemoryPool pool)
    {
        using (RmaOwner.Begin("late worker"))
            _buffer = pool.Rent(100);
    }

    public override void Dispose()
    {
        _buffer.Dispose();
        base.Dispose();
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.Delay(Timeout.Infinite, stoppingToken);

    /// <summary>Runs it in a host until the process is asked to stop.</summary>
    public static int RunHost()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Logging.AddProvider(new LineLoggerProvider());
        builder.Services.AddRmaMemoryPool<HostProvider>(o =>
        {
            o.DrainTimeout = TimeSpan.FromMilliseconds(100);
            o.LeakDetection = RmaLeakDetection.All;
        });
        builder.Services.AddHostedService<LateWorker>();
        using IHost host = builder.Build();
        host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStarted.Register(() => Console.WriteLine("started"));
        host.Run();
        return 0;
    }
}
