using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class AllReduceTests
{
    public static TheoryData<string, int> Rings => new MatrixTheoryData<string, int>(Fabric.Named ?? [Fabric.Tcp, Fabric.SharedMemoryByAddress], [2, 3, 4]);

    [Theory]
    [MemberData(nameof(Rings))]
    public Task EachProcessHasTheSumOfAllBitForBit(string fabric, int ranks) => AllReduce.AssertSumsAsync("ring", fabric, ranks);
}
