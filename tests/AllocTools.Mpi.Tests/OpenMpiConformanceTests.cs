using System.Text.RegularExpressions;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Runs the conformance suite and the other tests of MPI's endpoints under Open MPI. This process uses MPICH, which
/// works without an mpirun. Open MPI needs a job of two ranks, and a process can use only one MPI. So each class runs
/// once more in a process that mpirun starts, beside a rank that does nothing.
/// </summary>
public sealed partial class OpenMpiConformanceTests
{
    public static TheoryData<string> Classes =>
    [
        .. typeof(MpiTransport).Assembly.GetExportedTypes()
            .Where(static t => t.BaseType is { IsGenericType: true } parent && parent.BaseType == typeof(EndpointConformance<MpiTransport>))
            .Select(static t => t.FullName!),
        typeof(EndpointTests).FullName!,
    ];

    [Theory]
    [MemberData(nameof(Classes))]
    public async Task TheSuiteHoldsUnderOpenMpi(string name)
    {
        string runner = Path.Combine(AppContext.BaseDirectory, "AllocTools.Mpi.Tests");
        (int exitCode, string output) = await MpiRanks.RunAsync(
            [.. MpiRanks.Command(MpiImplementation.OpenMpi), "-n", "1", runner, "-noLogo", "-noColor", "-class", name, ":", "-n", "1", MpiRanks.Program, "mpi-companion"],
            TestTime.Seconds(120));
        Assert.True(exitCode == 0, output);
        Match summary = Summary().Match(output);
        Assert.True(summary.Success && int.Parse(summary.Groups[1].Value) > 0, output);
    }

    [GeneratedRegex(@"Total: (\d+), Errors: 0, Failed: 0, Skipped: 0, Not Run: 0")]
    private static partial Regex Summary();
}
