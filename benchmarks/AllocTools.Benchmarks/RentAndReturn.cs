using System.Buffers;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using BenchmarkDotNet.Attributes;

namespace AllocTools.Benchmarks;

/// <summary>One rent and its return, one thread, one buffer in flight; and what it takes the place of: registering each time.</summary>
[MemoryDiagnoser]
public class RentAndReturn
{
    private IRmaContext _hostContext = null!;
    private IRmaContext _fabricContext = null!;
    private RmaMemoryPool<HostProvider> _host = null!;
    private RmaMemoryPool<LibfabricProvider> _fabric = null!;
    private ArrayPool<byte> _private = null!;
    private byte[] _own = null!;

    [Params(1 << 10, 64 << 10, 1 << 20)]
    public int Size { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _hostContext = new HostProvider(new HostProviderOptions { Locking = PageLocking.Required }).Open();
        _fabricContext = new LibfabricProvider(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "127.0.0.1" }).Open();
        _host = new RmaMemoryPool<HostProvider>(_hostContext, new RmaMemoryPoolOptions());
        _fabric = new RmaMemoryPool<LibfabricProvider>(_fabricContext, new RmaMemoryPoolOptions());
        _private = ArrayPool<byte>.Create();
        _own = GC.AllocateArray<byte>(Size, pinned: true);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _host.Dispose();
        _fabric.Dispose();
        _hostContext.Dispose();
        _fabricContext.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void ArrayPoolShared() => ArrayPool<byte>.Shared.Return(ArrayPool<byte>.Shared.Rent(Size));

    [Benchmark]
    public void ArrayPoolOwn() => _private.Return(_private.Rent(Size));

    [Benchmark]
    public void PoolOnHostMemory() => _host.Rent(Size).Dispose();

    [Benchmark]
    public void PoolOnLibfabricTcp() => _fabric.Rent(Size).Dispose();

    [Benchmark]
    public void RegisterEachTimeOnHostMemory() => _host.Register(_own).Dispose();

    [Benchmark]
    public void RegisterEachTimeOnLibfabricTcp() => _fabric.Register(_own).Dispose();
}
