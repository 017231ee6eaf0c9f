using AllocTools.Testing;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests a real process that is asked to stop while a worker keeps a buffer until the container disposes it.</summary>
public sealed class LateWorkerTests
{
    [Fact]
    public async Task A_worker_that_returns_in_its_Dispose_ends_at_SIGTERM_without_an_error()
    {
        await using PeerProcess process = new("late-worker");
        for (string line = ""; line != "started";)
            line = await process.AnswerAsync();
        (int exitCode, string output) = await process.StopAsync();
        Assert.Equal(0, exitCode);
        // It is logged first as still rented, then as returned late.
        string late = Assert.Single(output.Split('\n'), l => l.StartsWith("log 31:", StringComparison.Ordinal));
        Assert.Contains("100 bytes, rented by late worker", late, StringComparison.Ordinal);
    }
}
