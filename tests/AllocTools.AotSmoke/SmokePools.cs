using AllocTools.HostMemory;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>The pools as a service of the application gets them.</summary>
internal sealed class SmokePools(
    IRmaMemoryPool unnamed,
    [FromKeyedServices(PoolNames.Peer)] IRmaMemoryPool peer,
    [FromKeyedServices(PoolNames.Scratch)] RmaMemoryPool<HostProvider> scratch)
{
    public IRmaMemoryPool Unnamed => unnamed;

    public IRmaMemoryPool Peer => peer;

    public IRmaMemoryPool Scratch => scratch;

    public IReadOnlyList<IRmaMemoryPool> All => [unnamed, peer, scratch];
}
