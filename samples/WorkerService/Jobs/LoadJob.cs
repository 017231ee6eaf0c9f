using AllocTools;
using WorkerService.Reporting;

namespace WorkerService.Jobs;

/// <summary>Keeps a pool and an endpoint busy until it is stopped, with something of everything that a dashboard shows.</summary>
internal sealed class LoadJob(IRmaMemoryPool pool, IRmaEndpoint endpoint, ITransferReport report) : ITransferJob
{
    private static readonly TimeSpan Round = TimeSpan.FromMilliseconds(200);

    public bool EndsWithStop => true;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        report.Note("Keeping the pool busy until this is stopped.");
        var random = new Random(1);
        int largest = (int)pool.GetStatistics().SizeClasses.Max(c => c.BlockSize);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using var timer = new PeriodicTimer(Round);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            for (int i = random.Next(1, 20); i > 0; i--)
                await WriteAsync(self, random.Next(1, largest), cancellationToken);
            // Now and then something that no class serves: a registration of its own.
            if (random.Next(10) == 0)
                (await pool.RentAsync(largest + random.Next(1, largest), cancellationToken)).Dispose();
        }
    }

    private async Task WriteAsync(RmaPeer self, int length, CancellationToken cancellationToken)
    {
        using RmaBuffer source = await pool.RentAsync(length, cancellationToken);
        using RmaBuffer target = await pool.RentAsync(length, cancellationToken);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        await endpoint.WriteAsync(source, remote, cancellationToken: cancellationToken);
    }
}
