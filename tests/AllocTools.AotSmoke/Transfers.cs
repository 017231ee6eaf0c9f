using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>Moves bytes by RMA: through libfabric between two pools of this process, inside the pool without a fabric, through UCX, and through MPI as a job of one rank.</summary>
internal static class Transfers
{
    public static async Task CheckAsync(IServiceProvider services)
    {
        var pools = services.GetRequiredService<SmokePools>();
        await CheckAsync(
            pools.Unnamed,
            services.GetRequiredService<LibfabricEndpoint>(),
            pools.Peer,
            services.GetRequiredKeyedService<IRmaEndpoint>(PoolNames.Peer),
            50_000);

        IRmaEndpoint host = services.GetRequiredKeyedService<IRmaEndpoint>(PoolNames.Scratch);
        await CheckAsync(pools.Scratch, host, pools.Scratch, host, 2_000);

        IRmaEndpoint ucx = services.GetRequiredKeyedService<IRmaEndpoint>(PoolNames.Ucx);
        await CheckAsync(pools.Ucx, ucx, pools.Ucx, ucx, 30_000);

        MpiEndpoint mpi = services.GetRequiredKeyedService<MpiEndpoint>(PoolNames.Mpi);
        Expect.Equal(1, mpi.RankCount);
        await CheckAsync(pools.Mpi, mpi, pools.Mpi, mpi, 20_000);
    }

    private static async Task CheckAsync(IRmaMemoryPool from, IRmaEndpoint initiator, IRmaMemoryPool to, IRmaEndpoint owner, int length)
    {
        using RmaBuffer source = from.Rent(length);
        using RmaBuffer destination = to.Rent(length);
        new Random(length).NextBytes(source.Span);
        using (RmaExposure exposure = destination.Expose(RmaAccess.RemoteWrite))
        {
            byte[] told = exposure.Remote.ToArray();
            using RemoteRegion remote = initiator.Import(initiator.InsertPeer(owner.Address.Span), RemoteMemory.Read(told));
            Task written = initiator.WriteAsync(source, remote).AsTask();
            // An endpoint whose progress is the caller's moves nothing while nobody polls.
            while (!written.IsCompleted)
            {
                owner.Poll([]);
                await Task.Delay(1);
            }
            await written;
        }
        Expect.True(source.Span.SequenceEqual(destination.Span), $"What pool '{to.Name}' was written to by pool '{from.Name}' is something else.");
    }
}
