using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.Tests;

/// <summary>
/// Opens the provider of these tests' pools: host memory that is not locked, or the fabric that the environment names.
/// </summary>
internal static class PoolProvider
{
    public static IRmaContext Open() => Fabric.Named is [string fabric, ..]
        ? Fabric.Open(fabric)
        : new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
}
