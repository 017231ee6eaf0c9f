using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>Tests two ranks of a job.</summary>
public sealed class TwoRankTests
{
    public static TheoryData<MpiImplementation> Implementations => MpiRanks.Implementations;

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task OneRankWritesToTheOtherAndReadsItBack(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await ConnectAsync(ranks);
        foreach (int size in new[] { 1, 100, 16 << 10, 1 << 20, (8 << 20) + 3 })
        {
            string target = await ranks.AskAsync(1, $"rent {size} 0");
            string remote = await ranks.AskAsync(1, $"expose {target} 0 {size} RemoteRead,RemoteWrite");
            string source = await ranks.AskAsync(0, $"rent {size} 7");
            Assert.Equal("ok", await ranks.AskAsync(0, $"write {source} {remote}"));
            Assert.Equal(await ranks.AskAsync(0, $"hash {source}"), await ranks.AskAsync(1, $"hash {target}"));
            string back = await ranks.AskAsync(0, $"rent {size} 1");
            Assert.Equal("ok", await ranks.AskAsync(0, $"read {back} {remote}"));
            Assert.Equal(await ranks.AskAsync(0, $"hash {source}"), await ranks.AskAsync(0, $"hash {back}"));
        }
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task MessagesGoBothWaysAndMpiExchangesTheAddresses(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await ConnectAsync(ranks);
        foreach (int length in new[] { 0, 1, 5000, 300_000 })
        {
            for (int from = 0; from < 2; from++)
            {
                string message = await ranks.AskAsync(from, $"rent 300000 {from + 1}");
                string buffer = await ranks.AskAsync(1 - from, "rent 300000 0");
                await ranks.TellAsync(1 - from, $"receive {buffer}");
                Assert.Equal("ok", await ranks.AskAsync(from, $"send {message} {length}"));
                Assert.Equal($"{length}", await ranks.AnswerAsync(1 - from));
            }
        }
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ASendToAnEndpointThatAnotherRankHasClosedFails(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await ConnectAsync(ranks);
        string message = await ranks.AskAsync(0, "rent 300000 1");
        // One message is under way, and another one follows later.
        await ranks.TellAsync(0, $"send {message} 300000");
        Assert.Equal("ok", await ranks.AskAsync(1, "close"));
        Assert.Contains("its endpoint was closed", await ranks.AnswerAsync(0), StringComparison.Ordinal);
        Assert.StartsWith("error", await ranks.AskAsync(0, $"send {message} 100"), StringComparison.Ordinal);
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    /// <summary>Makes both ranks ask MPI for the addresses, at the same time, and insert each other.</summary>
    internal static async Task ConnectAsync(MpiRanks ranks)
    {
        await ranks.TellAsync(0, "connect 1");
        Assert.Equal("ok", await ranks.AskAsync(1, "connect 0"));
        Assert.Equal("ok", await ranks.AnswerAsync(0));
    }
}
