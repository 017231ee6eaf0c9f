using System.Globalization;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>A process that may lock 64 KiB, which an ordinary user's may.</summary>
public sealed class MemoryLockTests
{
    private static readonly string[] Limited = Environment.IsPrivilegedProcess
        ? ["prlimit", "--memlock=65536:65536", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        : ["prlimit", "--memlock=65536:65536"];

    [Fact]
    public async Task BestEffortSaysOnceThatLockingFellShortAndGoesOn()
    {
        string output = await RunAsync("BestEffort");
        Assert.Equal(1, output.Split('\n').Count(l => l.StartsWith("log 5:", StringComparison.Ordinal)));
        Assert.Contains("RLIMIT_MEMLOCK is 65536 bytes", output, StringComparison.Ordinal);
        Assert.Contains("LimitMEMLOCK=infinity", output, StringComparison.Ordinal);
        Assert.Contains("rented 2097152", output, StringComparison.Ordinal);
        Assert.Contains("failures 0", output, StringComparison.Ordinal);
        Assert.Equal(0, LockedKilobytes(output));
    }

    [Fact]
    public async Task RequiredRefusesWhatDoesNotFitServesWhatDoesAndLeavesNothingLocked()
    {
        string output = await RunAsync("Required");
        Assert.Contains("refused 1048576: ENOMEM: mlock of 1048576 bytes", output, StringComparison.Ordinal);
        Assert.Contains("RLIMIT_MEMLOCK is 65536 bytes", output, StringComparison.Ordinal);
        Assert.Contains("rented 4096", output, StringComparison.Ordinal);
        Assert.Contains("refused 2097152", output, StringComparison.Ordinal);
        Assert.Contains("registered 16384", output, StringComparison.Ordinal);
        Assert.Equal(0, LockedKilobytes(output));
    }

    private static async Task<string> RunAsync(string locking)
    {
        await using var process = new PeerProcess(Limited, ["memlock", locking]);
        return await process.ReadToEndAsync();
    }

    private static int LockedKilobytes(string output)
    {
        string line = output.Split('\n').Single(l => l.StartsWith("VmLck:", StringComparison.Ordinal));
        return int.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
