using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>Processes that can't be a rank, and jobs that lack one: the start fails, and says what to do.</summary>
public sealed class UnfitProcessTests
{
    /// <summary>Open MPI is asked for in a process that no mpirun has started.</summary>
    [Fact]
    public async Task OpenMpiWithoutMpirunSaysSo()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-open", "OpenMpi", "60"], TestTime.Seconds(60));
        Assert.Equal(1, exitCode);
        Assert.Contains("The process was not started by mpirun", output, StringComparison.Ordinal);
        Assert.Contains("mpirun -n 2", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AJobOfOneRankOfOpenMpiSaysSo()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([.. MpiRanks.Command(MpiImplementation.OpenMpi), "-n", "1", MpiRanks.Program, "mpi-open", "Any", "60"], TestTime.Seconds(60));
        Assert.NotEqual(0, exitCode);
        Assert.Contains("no dynamic windows in a job of one rank", output, StringComparison.Ordinal);
    }

    /// <summary>MPICH works alone: it is a job of one rank.</summary>
    [Fact]
    public async Task MpichNeedsNoMpirun()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-open", "Any", "60"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Contains("mpich, rank 0 of 1", output, StringComparison.Ordinal);
    }

    /// <summary>The processes would be jobs of their own, with one rank each.</summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, "Mpich", "OMPI_COMM_WORLD_RANK")]
    [InlineData(MpiImplementation.Mpich, "OpenMpi", "PMI_RANK")]
    public async Task TheOtherOnesMpirunIsRefused(MpiImplementation mpirun, string implementation, string mark)
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([.. MpiRanks.Command(mpirun), "-n", "2", MpiRanks.Program, "mpi-open", implementation, "60"], TestTime.Seconds(60));
        Assert.NotEqual(0, exitCode);
        Assert.Contains($"the process was started by {MpiResolver.NameOf(mpirun)} ({mark} is set)", output, StringComparison.Ordinal);
    }

    /// <summary>The other rank is there, and opens nothing.</summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi)]
    [InlineData(MpiImplementation.Mpich)]
    public async Task ARankThatOpensNothingFailsTheStartOfTheOthers(MpiImplementation implementation)
    {
        (_, string output) = await MpiRanks.RunAsync(
            [.. MpiRanks.Command(implementation), "-n", "1", MpiRanks.Program, "mpi-open", "Any", "0.5", ":", "-n", "1", "sleep", "5"],
            TestTime.Seconds(60));
        Assert.Contains("Not all ranks of the MPI job have opened the provider within 0.5 s", output, StringComparison.Ordinal);
        Assert.Contains("Provider:StartTimeout", output, StringComparison.Ordinal);
    }

    /// <summary>An application that has initialized MPI itself finalizes it, too.</summary>
    [Fact]
    public async Task MpiOfTheApplicationIsUsedAndLeftToIt()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-own", "3"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Equal("moved\nfinalized by the application\n", output);
    }

    [Fact]
    public async Task MpiOfTheApplicationWithoutThreadsIsRefused()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-own", "0"], TestTime.Seconds(60));
        Assert.Equal(1, exitCode);
        Assert.Contains("MPI_THREAD_MULTIPLE (3) is needed. Have the application ask MPI_Init_thread for it.", output, StringComparison.Ordinal);
    }

    [Fact]
    public void ALibraryThatIsNotThereIsNamed()
    {
        MpiLoaderResult(MpiImplementation.Any, null, [], out string reason);
        Assert.Contains("looked for libmpich.so.12 and libmpi.so.12 and libmpi.so.40", reason, StringComparison.Ordinal);
        Assert.Contains("apt-get install mpich", reason, StringComparison.Ordinal);
        Assert.Contains("apt-get install openmpi-bin libopenmpi3", reason, StringComparison.Ordinal);
        MpiLoaderResult(MpiImplementation.Any, null, [("PMI_RANK", "0")], out reason);
        Assert.Contains("since MPICH has started the process (PMI_RANK is set)", reason, StringComparison.Ordinal);
        Assert.DoesNotContain("openmpi", reason, StringComparison.Ordinal);
        MpiLoaderResult(MpiImplementation.OpenMpi, "/nowhere/libmpi.so", [], out reason);
        Assert.Contains("LibraryPath is '/nowhere/libmpi.so', which is not there", reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PMIX_RANK", MpiImplementation.OpenMpi)]
    [InlineData("OMPI_COMM_WORLD_RANK", MpiImplementation.OpenMpi)]
    [InlineData("PMI_FD", MpiImplementation.Mpich)]
    public void TheOneThatHasStartedTheProcessIsTaken(string mark, MpiImplementation implementation) =>
        Assert.Equal([implementation], MpiResolver.Candidates(MpiImplementation.Any, name => name == mark ? "1" : null));

    private static void MpiLoaderResult(MpiImplementation asked, string? path, (string Name, string Value)[] environment, out string reason) =>
        Assert.Null(MpiResolver.TryLoad(asked, path, name => environment.FirstOrDefault(v => v.Name == name).Value, NothingIsThere, out reason));

    private static Interop.MpiLibrary? NothingIsThere(string name, out string? reason)
    {
        reason = null;
        return null;
    }
}
