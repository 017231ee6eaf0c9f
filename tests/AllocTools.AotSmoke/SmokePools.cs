using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Ucx;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>The pools as a service of the application gets them.</summary>
internal sealed class SmokePools(
    IRmaMemoryPool unnamed,
    [FromKeyedServices(PoolNames.Peer)] IRmaMemoryPool peer,
    [FromKeyedServices(PoolNames.Scratch)] RmaMemoryPool<HostProvider> scratch,
    [FromKeyedServices(PoolNames.Ucx)] RmaMemoryPool<UcxProvider> ucx,
    [FromKeyedServices(PoolNames.Mpi)] RmaMemoryPool<MpiProvider> mpi,
    [FromKeyedServices(PoolNames.Third)] RmaMemoryPool<ThirdPartyProvider> third)
{
    public IRmaMemoryPool Unnamed => unnamed;

    public IRmaMemoryPool Peer => peer;

    public IRmaMemoryPool Scratch => scratch;

    public IRmaMemoryPool Ucx => ucx;

    public IRmaMemoryPool Mpi => mpi;

    public IRmaMemoryPool Third => third;

    public IReadOnlyList<IRmaMemoryPool> All => [unnamed, peer, scratch, ucx, mpi, third];
}
