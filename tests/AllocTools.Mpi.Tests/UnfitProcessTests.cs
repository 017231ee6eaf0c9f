using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Tests processes that can't be a rank, and jobs in which a rank is missing: the start fails, and the error says what
/// to do.
/// </summary>
public sealed class UnfitProcessTests
{
    private const string MpichFile = "the file of MPICH";

    /// <summary>Open MPI is requested in a process that was not started by mpirun.</summary>
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

    /// <summary>MPICH works without mpirun: the process is a job of one rank.</summary>
    [Fact]
    public async Task MpichNeedsNoMpirun()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-open", "Any", "60"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Contains("mpich, rank 0 of 1", output, StringComparison.Ordinal);
    }

    /// <summary>
    /// The variables that an mpirun sets are no proof, since each implementation can be built for the other's starter.
    /// If they were right after all, each process is a job of its own.
    /// </summary>
    [Fact]
    public async Task TheImplementationOfTheOptionsIsTakenWithAWarning()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([.. MpiRanks.Command(MpiImplementation.OpenMpi), "-n", "2", MpiRanks.Program, "mpi-open", "Mpich", "60"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Contains("mpich, rank 0 of 1", output, StringComparison.Ordinal);
        Assert.Contains("Warning 75: MPICH is used, as the options say, although OMPI_COMM_WORLD_RANK is set, which the mpirun of Open MPI does", output, StringComparison.Ordinal);
        (exitCode, output) = await MpiRanks.RunAsync([.. MpiRanks.Command(MpiImplementation.Mpich), "-n", "2", MpiRanks.Program, "mpi-open", "OpenMpi", "60"], TestTime.Seconds(60));
        Assert.NotEqual(0, exitCode);
        Assert.Contains("Warning 75: Open MPI is used, as the options say, although PMI_RANK is set, which the mpirun of MPICH does", output, StringComparison.Ordinal);
        Assert.Contains("PMI_RANK is set, which the mpirun of MPICH does; it makes each process of Open MPI a job of its own. Start the process with the mpirun of Open MPI", output, StringComparison.Ordinal);
    }

    /// <summary>
    /// Options that name no library leave none loaded; options that name a library other than the process's are
    /// refused.
    /// </summary>
    [Theory]
    [InlineData("/nowhere/libmpi.so", "LibraryPath is '/nowhere/libmpi.so', which does not exist. Correct it; or leave it out, and install it with", "", "mpich, rank 0 of 1")]
    [InlineData("libmpich.so.12", "mpich, rank 0 of 1", MpichFile, "mpich, rank 0 of 1")]
    [InlineData("", "mpich, rank 0 of 1", "libmpi.so.40", "LibraryPath is 'libmpi.so.40', but this process uses libmpich.so.12 already")]
    [InlineData("libmpi.so.40", "Implementation is Mpich, but libmpi.so.40 is OpenMpi's", "", "libmpi.so.40 was already loaded in this process")]
    public async Task AProcessLoadsOneLibrary(string path, string said, string nextPath, string saidNext)
    {
        (_, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-open", "Mpich", "60", path, nextPath == MpichFile ? FindMpich() : nextPath], TestTime.Seconds(60));
        string[] lines = output.Split('\n');
        Assert.Contains(said, lines[0], StringComparison.Ordinal);
        Assert.Contains(saidNext, lines[1], StringComparison.Ordinal);
    }

    /// <summary>Returns the file that the system finds.</summary>
    private static string FindMpich()
    {
        MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { }).Dispose();
        return File.ReadLines("/proc/self/maps").Select(static l => l[(l.LastIndexOf(' ') + 1)..]).First(static p => Path.GetFileName(p).StartsWith("libmpich.so.12", StringComparison.Ordinal));
    }

    /// <summary>The loaded library might differ from the one that the options name.</summary>
    [Fact]
    public async Task AskingWhetherMpiIsThereLoadsNone()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-there"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Equal("there, 0 mapped\n", output);
    }

    [Theory]
    [InlineData("libmpich.so.12", true)]
    [InlineData("libmpi.so.40", true)]
    [InlineData("libc.so.6", true)]
    [InlineData("mpich.so.12", false)]
    [InlineData("libmpi.so.4", false)]
    [InlineData("libnothere.so.1", false)]
    public void LibrariesAreFoundAsTheSystemDoes(string name, bool isThere) => Assert.Equal(isThere, AllocTools.Interop.GlobalLibrary.IsThere(name));

    /// <summary>
    /// .NET handles SIGTERM from a time at which MPI waits for the other rank. Undoing MPI's own handlers must not undo
    /// that.
    /// </summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi)]
    [InlineData(MpiImplementation.Mpich)]
    public async Task AStopRequestIsHeardThatIsAskedForWhileMpiStarts(MpiImplementation implementation)
    {
        string mark = Path.Combine(Path.GetTempPath(), $"alloctools-{Guid.NewGuid():N}");
        (int exitCode, string output) = await MpiRanks.RunAsync([.. MpiRanks.Command(implementation), "-n", "2", MpiRanks.Program, "mpi-signal", mark], TestTime.Seconds(60));
        File.Delete(mark);
        Assert.True(exitCode == 0, output);
        Assert.Contains("asked while it starts: True, heard", output, StringComparison.Ordinal);
    }

    /// <summary>The other rank exists, but opens nothing.</summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi)]
    [InlineData(MpiImplementation.Mpich)]
    public async Task ARankThatOpensNothingFailsTheStartOfTheOthers(MpiImplementation implementation)
    {
        (int exitCode, string output) = await MpiRanks.RunAsync(
            [.. MpiRanks.Command(implementation), "-n", "1", MpiRanks.Program, "mpi-open", "Any", "0.5", ":", "-n", "1", "sleep", "100"],
            TestTime.Seconds(60));
        // mpirun ends the other rank, because this one has failed.
        Assert.InRange(exitCode, 1, 127);
        Assert.Contains("Not all ranks of the MPI job have opened the provider within 0.5 s", output, StringComparison.Ordinal);
        Assert.Contains("Provider:StartTimeout", output, StringComparison.Ordinal);
    }

    /// <summary>An application that has initialized MPI itself finalizes it, too.</summary>
    [Fact]
    public async Task MpiOfTheApplicationIsUsedAndLeftToIt()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-own", "3", "libmpich.so.12"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        Assert.Equal("moved\nfinalized by the application\n", output);
    }

    /// <summary>At that time, endpoints are open whose threads look for messages: no further call into MPI may begin.</summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, "libmpi.so.40")]
    [InlineData(MpiImplementation.Mpich, "libmpich.so.12")]
    public async Task AnApplicationMayFinalizeMpiBeforeItClosesWhatItHasOpened(MpiImplementation implementation, string library)
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([.. MpiRanks.Command(implementation), "-n", "2", MpiRanks.Program, "mpi-own", "3", library, "close-later"], TestTime.Seconds(60));
        Assert.True(exitCode == 0, output);
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Count(static l => l == "finalized by the application"));
        Assert.Equal(2, lines.Count(static l => l.StartsWith("RmaTimeoutException", StringComparison.Ordinal)));
        Assert.Equal(2, lines.Count(static l => l.Contains("MPI can't be used: it is finalized", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task MpiOfTheApplicationWithoutThreadsIsRefused()
    {
        (int exitCode, string output) = await MpiRanks.RunAsync([MpiRanks.Program, "mpi-own", "0", "libmpich.so.12"], TestTime.Seconds(60));
        Assert.Equal(1, exitCode);
        Assert.Contains("MPI_THREAD_MULTIPLE (3) is needed. Have the application ask MPI_Init_thread for it.", output, StringComparison.Ordinal);
    }

    [Fact]
    public void ALibraryThatIsNotThereIsNamed()
    {
        Assert.Empty(MpiResolver.FindMissing(static _ => null, static name => name == "libmpi.so.40"));
        Assert.Contains("apt-get install mpich", MpiResolver.FindMissing(static v => v == "PMI_FD" ? "7" : null, static name => name == "libmpi.so.40"), StringComparison.Ordinal);
        MpiLoaderResult(MpiImplementation.Any, null, [], out string reason);
        Assert.Contains("looked for libmpich.so.12 and libmpi.so.12 and libmpi.so.40", reason, StringComparison.Ordinal);
        Assert.Contains("apt-get install mpich", reason, StringComparison.Ordinal);
        Assert.Contains("apt-get install openmpi-bin'", reason, StringComparison.Ordinal);
        MpiLoaderResult(MpiImplementation.Any, null, [("PMI_RANK", "0")], out reason);
        Assert.Contains("because PMI_RANK is set, which MPICH's mpirun does (if another one started the process, set Implementation)", reason, StringComparison.Ordinal);
        Assert.DoesNotContain("openmpi", reason, StringComparison.Ordinal);
        MpiLoaderResult(MpiImplementation.OpenMpi, "/nowhere/libmpi.so", [], out reason);
        Assert.Contains("LibraryPath is '/nowhere/libmpi.so', which does not exist", reason, StringComparison.Ordinal);
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
