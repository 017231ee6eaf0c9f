using AllocTools.HostMemory;
using AllocTools.Libfabric.Tests.Faked;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Each mistake is the same exception on page-locked memory, on each fabric, and on the fake.</summary>
public sealed class MistakeTests
{
    public static TheoryData<string> Fabrics => EndpointTests.Fabrics;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public Task EachMistakeIsTheSameExceptionOnEachFabric(string fabric) =>
        CheckAsync(() => FakeWorld.Find(fabric)?.Open() ?? Fabric.Open(fabric));

    [Fact]
    public Task EachMistakeIsTheSameExceptionOnPageLockedMemory() => CheckAsync(new HostProvider().Open);

    private static async Task CheckAsync(Func<IRmaContext> open)
    {
        await using var mistakes = new EndpointMistakes(open);
        mistakes.CheckOperations();
        mistakes.CheckTimeouts();
        mistakes.CheckCancelled();
        mistakes.CheckPeersAndMemory();
        mistakes.CheckClosed();
    }
}
