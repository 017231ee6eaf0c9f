using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Ucx;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>The alternative to a pool: existing memory is registered for each request.</summary>
internal static class RegisterEachTime
{
    public static IWorkload OnHostMemory(int size) => On(new HostProvider(new HostProviderOptions { Locking = PageLocking.Required }), size);

    public static IWorkload OnLibfabricTcp(int size) => On(new LibfabricProvider(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "127.0.0.1" }), size);

    public static IWorkload OnUcxTcp(int size) => On(new UcxProvider(new UcxOptions { Transports = "tcp", Devices = "lo" }), size);

    public static unsafe Workload On(IRmaProvider provider, int size)
    {
        IRmaContext context = provider.Open();
        byte[] memory = GC.AllocateArray<byte>(size, pinned: true);
        memory.AsSpan().Fill(1);
        nint address;
        fixed (byte* first = memory)
            address = (nint)first;
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    context.Deregister(context.Register(address, memory.Length, RmaAccess.Local));
            },
            context.Dispose);
    }
}
