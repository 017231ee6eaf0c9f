using AllocTools.Endpoints;

namespace PoolDrill;

/// <summary>Keeps the pool busy until it is stopped, so that dashboards have something to show.</summary>
internal sealed class Load(IRmaMemoryPool pool, IRmaEndpoint endpoint)
{
    /// <exception cref="OperationCanceledException">The load was stopped.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Console.Error.WriteLine("Keeping the pool busy until this is stopped.");
        var random = new Random(1);
        int largest = (int)pool.GetStatistics().SizeClasses.Max(c => c.BlockSize);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            for (int i = random.Next(1, 20); i > 0; i--)
                await WriteAsync(pool, endpoint, self, random.Next(1, largest), cancellationToken);
            // Occasionally, a request exceeds all classes and gets its own registration.
            if (random.Next(10) == 0)
                (await pool.RentAsync(largest + random.Next(1, largest), cancellationToken)).Dispose();
        }
    }

    /// <summary>Writes from one buffer of a pool to another one.</summary>
    public static async Task WriteAsync(IRmaMemoryPool pool, IRmaEndpoint endpoint, RmaPeer self, int length, CancellationToken cancellationToken)
    {
        using RmaBuffer source = await pool.RentAsync(length, cancellationToken);
        using RmaBuffer target = await pool.RentAsync(length, cancellationToken);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        await endpoint.WriteAsync(source, remote, cancellationToken: cancellationToken);
    }
}
