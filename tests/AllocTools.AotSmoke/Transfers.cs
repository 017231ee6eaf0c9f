using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.MultiRail;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>Moves bytes by RMA: through libfabric between two pools of this process, inside the pool without a fabric, through UCX, through MPI as a job of one rank, and over the rails of a multi-rail.</summary>
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

        await CheckRailsAsync(services.GetRequiredService<RmaMultiRail>());
    }

    /// <summary>Checks a multi-rail that is its own peer. Its policy is Failover, so its first rail carries everything.</summary>
    private static async Task CheckRailsAsync(RmaMultiRail rails)
    {
        using RmaRailMemory source = rails.Rent(40_000);
        using RmaRailMemory target = rails.Rent(40_000);
        new Random(40_000).NextBytes(source.Span);
        using (RmaRailExposure exposure = target.Expose(RmaAccess.RemoteWrite))
        {
            RmaRailPeer peer = rails.InsertPeer(rails.Address.Span);
            using RmaRailRegion remote = rails.Import(peer, exposure.ToArray());
            await rails.WriteAsync(source, remote);
        }
        Expect.True(source.Span.SequenceEqual(target.Span), "What was written over the rails is something else.");
        Expect.Equal(40_000, rails.GetStatistics()[0].Bytes, "The bytes of the first rail");
        Expect.Equal(0, rails.GetStatistics()[1].Bytes, "The bytes of the second rail");
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
            // An endpoint on which the caller makes progress moves nothing while nobody polls.
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
