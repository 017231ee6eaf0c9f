using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>Tests connections between two ranks of a job, whose control connections go over TCP.</summary>
public sealed class ConnectionTests
{
    public static TheoryData<MpiImplementation> Implementations => MpiRanks.Implementations;

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task BytesGoBothWaysAndNothingIsLeft(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, kind: "mpi-connections");
        string port = await ranks.AskAsync(0, "listen echo");
        Assert.Equal(implementation == MpiImplementation.OpenMpi ? "openmpi" : "mpich", await ranks.AskAsync(1, $"connect {port}"));
        foreach (int count in new[] { 1, 1000, 100_000, 3_000_000 })
            Assert.Equal("same", await ranks.AskAsync(1, $"echo {count}"));
        Assert.Equal("True", await ranks.AskAsync(1, "close"));
        await AreCleanAsync(ranks, 0, 1);
        // It connects once more, on the same endpoints.
        Assert.NotEmpty(await ranks.AskAsync(1, $"connect {port}"));
        Assert.Equal("same", await ranks.AskAsync(1, "echo 5000"));
        Assert.Equal("True", await ranks.AskAsync(1, "close"));
        await AreCleanAsync(ranks, 0, 1);
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task APeerThatEndsWhileItSendsEndsTheConnection(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, kind: "mpi-connections");
        string port = await ranks.AskAsync(0, "listen send");
        await ranks.AskAsync(1, $"connect {port}");
        await ranks.TellAsync(1, "fail");
        Assert.Equal("disposed", await ranks.AskAsync(0, "dispose"));
        Assert.Contains("aborted the connection", await ranks.AnswerAsync(1), StringComparison.Ordinal);
        await AreCleanAsync(ranks, 0, 1);
        (int exitCode, string output) = await ranks.EndAsync();
        Assert.True(exitCode == 0, output);
    }

    private static async Task AreCleanAsync(MpiRanks ranks, params int[] which)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        foreach (int rank in which)
        {
            string left;
            while ((left = await ranks.AskAsync(rank, "left")) != "0 0 0")
            {
                Assert.False(limit.IsCancellationRequested, $"At rank {rank} are left: {left} (connections, buffers rented, in quarantine).");
                await Task.Delay(20, CancellationToken.None);
            }
        }
    }
}
