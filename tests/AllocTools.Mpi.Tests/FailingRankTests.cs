using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Tests ranks that are killed or hang, memory that can't be attached or never was, limits, and faults, as documented for MPI in
/// docs/providers.md.
/// </summary>
public sealed class FailingRankTests
{
    private const int Length = 4096;
    private const ulong CanLockMemory = 1 << 14;

    public static TheoryData<MpiImplementation> Implementations => MpiRanks.Implementations;

    /// <summary>This is a rule of MPI.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ARankThatIsKilledEndsTheJob(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await TwoRankTests.ConnectAsync(ranks);
        using Process other = Process.GetProcessById(ranks.ProcessIdOf(0));
        Signal(ranks.ProcessIdOf(1), "KILL");
        Assert.NotEqual(0, (await ranks.WaitAsync()).ExitCode);
        Assert.True(other.WaitForExit(TimeSpan.FromSeconds(60)));
    }

    /// <summary>Operations to the rank time out, and report the reason; once it continues, everything is as before.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ARankThatHangsIsReportedByTheTimeoutAndServedLater(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, options: ["timeout=1"]);
        await TwoRankTests.ConnectAsync(ranks);
        string message = await ranks.AskAsync(0, $"rent {Length} 3");
        string buffer = await ranks.AskAsync(1, $"rent {Length} 0");
        Signal(ranks.ProcessIdOf(1), "STOP");
        string late = await ranks.AskAsync(0, $"send {message} {Length}");
        Signal(ranks.ProcessIdOf(1), "CONT");
        Assert.Contains("did not complete within 1", late, StringComparison.Ordinal);
        Assert.Contains("the peer has posted no receive for it, or makes no progress", late, StringComparison.Ordinal);

        // The receive that timed out is taken back: this receive gets the next message.
        string second = await ranks.AskAsync(0, $"rent {Length} 5");
        string answer = "error";
        for (int tries = 0; tries < 30 && answer.StartsWith("error", StringComparison.Ordinal); tries++)
        {
            await ranks.TellAsync(1, $"receive {buffer}");
            await ranks.AskAsync(0, $"send {second} 100");
            answer = await ranks.AnswerAsync(1);
        }
        Assert.Equal("100", answer);
        Assert.Equal("0505", await ranks.AskAsync(1, $"peek {buffer} 0 2"));
    }

    /// <summary>
    /// Open MPI copies between the processes of a machine without the target's help. With MPICH, the flush waits for
    /// the target, and the operation times out meanwhile. The bytes may still arrive later, so its buffer is kept until
    /// then.
    /// </summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task WritesAndReadsOfARankThatHangsNeedItsHelpWithMpichOnly(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, options: ["timeout=1"]);
        await TwoRankTests.ConnectAsync(ranks);
        string target = await ranks.AskAsync(1, $"rent {Length} 0");
        string remote = await ranks.AskAsync(1, $"expose {target} 0 {Length} RemoteRead,RemoteWrite");
        string source = await ranks.AskAsync(0, $"rent {Length} 6");
        string back = await ranks.AskAsync(0, $"rent {Length} 1");
        Signal(ranks.ProcessIdOf(1), "STOP");
        string written = await ranks.AskAsync(0, $"write {source} {remote}");
        string read = await ranks.AskAsync(0, $"read {back} {remote}");
        if (implementation == MpiImplementation.Mpich)
            Assert.Contains("a flush waits for a rank that is stopped", await ranks.AskAsync(0, "failure"), StringComparison.Ordinal);
        Signal(ranks.ProcessIdOf(1), "CONT");
        foreach (string answer in new[] { written, read })
        {
            if (implementation == MpiImplementation.OpenMpi)
                Assert.Equal("ok", answer);
            else
                Assert.Contains("did not complete within", answer, StringComparison.Ordinal);
        }
        Assert.Equal("ok", await ranks.AskAsync(0, $"write {source} {remote}"));
        Assert.Equal("0606", await ranks.AskAsync(1, $"peek {target} 0 2"));
        Assert.Equal("ok", await ranks.AskAsync(0, $"read {back} {remote}"));
        Assert.Equal("0606", await ranks.AskAsync(0, $"peek {back} 0 2"));
    }

    /// <summary>
    /// MPI_Finalize would wait for the other rank without a limit. With MPICH, so does the flush of a write, in the
    /// endpoint's thread.
    /// </summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, false)]
    [InlineData(MpiImplementation.Mpich, false)]
    [InlineData(MpiImplementation.Mpich, true)]
    public async Task ARankEndsThoughAnotherOneHangs(MpiImplementation implementation, bool writes)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, options: ["end=1", "timeout=1"], wrapper: ["sh", "-c", "\"$@\"; echo a rank has ended with $?", "sh"]);
        await TwoRankTests.ConnectAsync(ranks);
        string target = await ranks.AskAsync(1, $"rent {Length} 0");
        string remote = await ranks.AskAsync(1, $"expose {target} 0 {Length} RemoteWrite");
        string source = await ranks.AskAsync(0, $"rent {Length} 6");
        using Process ended = Process.GetProcessById(ranks.ProcessIdOf(0));
        using Process hung = Process.GetProcessById(ranks.ProcessIdOf(1));
        Signal(hung.Id, "STOP");
        if (writes)
            Assert.Contains("did not complete within", await ranks.AskAsync(0, $"write {source} {remote}"), StringComparison.Ordinal);
        ranks.End(0);
        Assert.True(ended.WaitForExit(TestTime.Seconds(60)));
        // mpirun ends it, since a rank has ended without MPI_Finalize.
        Assert.True(hung.WaitForExit(TestTime.Seconds(60)));
        // The rank was not ended by a signal, which happens if a thread is in MPI while the process runs the libraries'
        // exit handlers.
        Assert.Contains("a rank has ended with 0", (await ranks.WaitAsync()).Output, StringComparison.Ordinal);
    }

    /// <summary>The ranks would make different collective calls: one for the exchange, the other for the end.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ARankEndsThoughAnotherOneHasNotComeToAnExchange(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        using Process ended = Process.GetProcessById(ranks.ProcessIdOf(0));
        Assert.Equal("Canceled", await ranks.AskAsync(0, "exchange-alone"));
        ranks.End(0);
        Assert.True(ended.WaitForExit(TestTime.Seconds(60)));
    }

    /// <summary>Both mpiruns end ranks once another one has ended without MPI_Finalize; MPICH's reports no error.</summary>
    [Theory]
    [InlineData(MpiImplementation.OpenMpi, 1)]
    [InlineData(MpiImplementation.Mpich, 0)]
    public async Task ARankThatGoesOnForLongerThanTheEndTimeoutOfAnotherIsEnded(MpiImplementation implementation, int exitCode)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, options: ["end=1"]);
        using Process later = Process.GetProcessById(ranks.ProcessIdOf(1));
        Assert.Equal("0", await ranks.AskAsync(1, $"rent {Length} 0"));
        ranks.End(0);
        Assert.True(later.WaitForExit(TestTime.Seconds(60)));
        Assert.Equal(exitCode, (await ranks.WaitAsync()).ExitCode);
    }

    /// <summary>
    /// A rank calls Environment.Exit in the middle of the job: it waits for the others, which still access its memory,
    /// and all ranks finalize MPI.
    /// </summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ARankThatExitsWaitsForTheOthers(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await TwoRankTests.ConnectAsync(ranks);
        using Process first = Process.GetProcessById(ranks.ProcessIdOf(0));
        string target = await ranks.AskAsync(0, $"rent {Length} 0");
        string remote = await ranks.AskAsync(0, $"expose {target} 0 {Length} RemoteWrite");
        string source = await ranks.AskAsync(1, $"rent {Length} 6");
        Assert.Equal("leaving", await ranks.AskAsync(0, "leave"));
        Assert.Equal("ok", await ranks.AskAsync(1, $"write {source} {remote}"));
        Assert.False(first.HasExited);
        ranks.End(1);
        Assert.Equal(0, (await ranks.WaitAsync()).ExitCode);
    }

    /// <summary>By default, the ranks wait for each other without a limit, and all of them finalize MPI.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ARankThatGoesOnAfterAnotherHasEndedEndsInOrder(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        using Process first = Process.GetProcessById(ranks.ProcessIdOf(0));
        ranks.End(0);
        Assert.False(first.WaitForExit(TimeSpan.FromSeconds(2)));
        Assert.Equal("0", await ranks.AskAsync(1, $"rent {Length} 0"));
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    /// <summary>
    /// Open MPI knows what is attached, and refuses. With MPICH the bytes are written wherever the address leads, which
    /// ends the job here.
    /// </summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task AWriteToWhatIsNotAttachedIsRefusedByOpenMpiOnly(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await TwoRankTests.ConnectAsync(ranks);
        string source = await ranks.AskAsync(0, $"rent {Length} 7");
        string nowhere = Convert.ToBase64String(new RemoteMemory(4096, 64, 0UL, RmaAccess.RemoteWrite).ToArray());
        await ranks.TellAsync(0, $"write {source} {nowhere}");
        if (implementation == MpiImplementation.Mpich)
        {
            Assert.NotEqual(0, (await ranks.WaitAsync()).ExitCode);
            return;
        }
        Assert.Contains("failed with MPI_ERR_RMA_RANGE", await ranks.AnswerAsync(0), StringComparison.Ordinal);

        // The same holds for memory that was attached before.
        string target = await ranks.AskAsync(1, $"rent {Length} 0");
        string remote = await ranks.AskAsync(1, $"expose {target} 0 {Length} RemoteWrite");
        Assert.Equal("ok", await ranks.AskAsync(0, $"write {source} {remote}"));
    }

    /// <summary>The limit is osc_rdma_max_attach.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task OpenMpiAttaches64RangesAndTheErrorNamesTheParameter(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        string answer = "";
        int rented = 0;
        // These are larger than the largest size class, so each is attached separately.
        for (; rented < 80 && !answer.StartsWith("error", StringComparison.Ordinal); rented++)
            answer = await ranks.AskAsync(0, $"rent {2 << 20} 0");
        if (implementation == MpiImplementation.Mpich)
        {
            Assert.Equal("79", answer);
            return;
        }
        Assert.InRange(rented, 40, 65);
        Assert.Contains("MPI_ERR_RMA_ATTACH", answer, StringComparison.Ordinal);
        Assert.Contains("osc_rdma_max_attach", answer, StringComparison.Ordinal);
        Assert.Contains("--mca osc rdma", answer, StringComparison.Ordinal);
        Assert.Contains("osc/ucx", answer, StringComparison.Ordinal);
        Assert.Contains("MaxSlabBytes", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheParameterIsRaisedBySettings()
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(MpiImplementation.OpenMpi, options: ["set=OMPI_MCA_osc_rdma_max_attach=256"]);
        for (int i = 0; i < 80; i++)
            Assert.Equal($"{i}", await ranks.AskAsync(0, $"rent {2 << 20} 0"));
    }

    /// <summary>Between ranks of one machine, no memory is locked. CAP_IPC_LOCK, which root has, would lift the limit.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ALowLimitOfLockedMemoryIsNoLimitHere(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation, wrapper: ["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]);
        Assert.Equal(0UL, EffectiveRightsOf(ranks.ProcessIdOf(0)) & CanLockMemory);
        Assert.Equal(0UL, EffectiveRightsOf(ranks.ProcessIdOf(1)) & CanLockMemory);
        await TwoRankTests.ConnectAsync(ranks);
        string target = await ranks.AskAsync(1, $"rent {8 << 20} 0");
        string remote = await ranks.AskAsync(1, $"expose {target} 0 {8 << 20} RemoteWrite");
        string source = await ranks.AskAsync(0, $"rent {8 << 20} 9");
        Assert.Equal("ok", await ranks.AskAsync(0, $"write {source} {remote}"));
        Assert.Equal(await ranks.AskAsync(0, $"hash {source}"), await ranks.AskAsync(1, $"hash {target}"));
        Assert.Equal("0 0", await ranks.AskAsync(0, "locked"));
        Assert.Equal("0 0", await ranks.AskAsync(1, "locked"));
    }

    /// <summary>Open MPI, and UCX below MPICH, would take over SIGSEGV, by which .NET detects a null reference.</summary>
    [Theory]
    [MemberData(nameof(Implementations))]
    public async Task ANullReferenceIsAnExceptionAsBefore(MpiImplementation implementation)
    {
        await using MpiRanks ranks = await MpiRanks.StartAsync(implementation);
        await TwoRankTests.ConnectAsync(ranks);
        Assert.Equal("caught", await ranks.AskAsync(0, "fault"));
        Assert.Equal("caught", await ranks.AskAsync(1, "fault"));
        Assert.Equal(0, (await ranks.EndAsync()).ExitCode);
    }

    /// <summary>Returns the effective capabilities of a process: capabilities(7).</summary>
    private static ulong EffectiveRightsOf(int process) => ulong.Parse(
        File.ReadLines($"/proc/{process}/status").Single(static l => l.StartsWith("CapEff:", StringComparison.Ordinal))["CapEff:".Length..].Trim(),
        NumberStyles.HexNumber,
        CultureInfo.InvariantCulture);

    private static void Signal(int process, string signal)
    {
        using var kill = Process.Start("kill", ["-" + signal, process.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}
