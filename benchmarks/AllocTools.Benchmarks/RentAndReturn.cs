using System.Buffers;
using AllocTools.Benchmarks.Pairs;
using AllocTools.HostMemory;
using BenchmarkDotNet.Attributes;

namespace AllocTools.Benchmarks;

/// <summary>One rent and its return under BenchmarkDotNet, for its memory and disassembly diagnosers. The report of ratios is <see cref="Report"/>.</summary>
[MemoryDiagnoser]
public class RentAndReturn
{
    private OwnPool _own = null!;
    private RmaMemoryPool<HostProvider> _pool = null!;

    [Params(1 << 10, 64 << 10, 1 << 20)]
    public int Size { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _own = new OwnPool();
        _pool = _own.Pool;
    }

    [GlobalCleanup]
    public void Cleanup() => _own.Dispose();

    [Benchmark(Baseline = true)]
    public void ArrayPoolShared() => ArrayPool<byte>.Shared.Return(ArrayPool<byte>.Shared.Rent(Size));

    [Benchmark]
    public void Pool() => _pool.Rent(Size).Dispose();
}
