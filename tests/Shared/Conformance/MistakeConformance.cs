using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests that each mistake throws the same exception on each transport, and names the same parameter.</summary>
public abstract class MistakeConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task EachMistakeIsTheSameException(string mode)
    {
        await using var mistakes = new EndpointMistakes(() => TTransport.Open(mode, static _ => { }));
        mistakes.CheckOperations();
        mistakes.CheckTimeouts();
        mistakes.CheckCancelled();
        await mistakes.CheckAwaitedTwiceAsync();
        mistakes.CheckPeersAndMemory();
        mistakes.CheckStrangersAreNamed();
        mistakes.CheckClosed();
    }
}
