using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Tests that a child process of a rank inherits nothing of MPI's: otherwise a connection would stay open when the rank
/// ends.
/// </summary>
public sealed class ChildProcessTests
{
    public static TheoryData<MpiImplementation> Implementations => MpiRanks.Implementations;

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task AChildInheritsNoSocketOfMpi(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        // MPI has opened something, which children don't inherit from the start.
        Assert.NotEqual("0", await ranks.AskAsync(0, "opened"));
        Assert.Equal("nothing", await ranks.AskAsync(0, "inherited"));
        await TwoRankTests.ConnectAsync(ranks);
        string message = await ranks.AskAsync(0, "rent 64 1");
        string buffer = await ranks.AskAsync(1, "rent 64 0");
        await ranks.TellAsync(1, $"receive {buffer}");
        Assert.Equal("ok", await ranks.AskAsync(0, $"send {message} 64"));
        Assert.Equal("64", await ranks.AnswerAsync(1));
        // The same holds for what MPI opens for the other rank a little later.
        Assert.Equal("nothing", await ranks.AskAsync(0, "inherited-in-the-end"));
        Assert.Equal("nothing", await ranks.AskAsync(1, "inherited-in-the-end"));
        if (implementation == MpiImplementation.Mpich)
            Assert.Equal("False", await ranks.AskAsync(0, $"inherits {await ranks.AskAsync(0, "variable PMI_FD")}"));
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    /// <summary>A child has the rank's environment, unless that is removed.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task AChildWithoutTheVariablesOfTheRankIsAJobOfItsOwn(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        Assert.Equal("0 mpich, rank 0 of 1 ", await ranks.AskAsync(0, "mpi-child False"));
        if (implementation == MpiImplementation.Mpich)
            Assert.False((await ranks.AskAsync(0, "mpi-child True")).StartsWith("0 ", StringComparison.Ordinal));
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }
}
