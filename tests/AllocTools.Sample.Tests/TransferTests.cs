using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

public sealed class TransferTests : IDisposable
{
    private static readonly string[] MountNamespace = Environment.IsPrivilegedProcess
        ? ["unshare", "--mount"]
        : ["unshare", "--user", "--map-root-user", "--mount"];

    private static readonly string[] ShortTimeout = ["--timeout", TestTime.Seconds(3).TotalSeconds.ToString(CultureInfo.InvariantCulture)];

    // The file is long enough to be interrupted after the first tenth, which is reported.
    private static readonly long LongFile = (long)((4L << 30) / TestTime.Factor);

    private readonly TemporaryFolder _source = new();
    private readonly TemporaryFolder _target = new();

    /// <summary>Gets the providers, as the sample accepts them, or those that the environment asks for: PROVIDER@NODE.</summary>
    public static TheoryData<string> Providers => [.. Fabric.Named ?? ["tcp;ofi_rxm", "shm", "sockets"]];

    public static TheoryData<string> ProvidersWithEndings => [.. Fabric.Named ?? ["tcp;ofi_rxm", "shm"]];

    public void Dispose()
    {
        _source.Dispose();
        _target.Dispose();
    }

    [Theory]
    [MemberData(nameof(Providers))]
    public async Task AFileArrivesWholeAndNothingIsRegisteredAfterTheWarmUp(string fabric)
    {
        string file = _source.Write("data.bin", (10 << 20) + 12345);
        SampleResult result = await RunAsync([.. SampleProcess.On(fabric), "--file", file, "--output", _target.Path]);
        Assert.Equal("", string.Join('\n', result.ErrorLines));
        Assert.Equal(0, result.ExitCode);
        Assert.Contains($"over {fabric.Split('@')[0]}", result.Output, StringComparison.Ordinal);
        Assert.Contains("the same on both sides", result.Output, StringComparison.Ordinal);
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken))), result.Output, StringComparison.Ordinal);
        AssertSame(file);
        Assert.Equal([0L, 0L], result.Row("registrations made after warm-up"));
        Assert.Equal([0L, 0L], result.Row("misses"));
        long[] rents = result.Row("rents");
        long[] made = result.Row("registrations made");
        Assert.Equal(rents, result.Row("hits"));
        Assert.Equal(rents.Zip(made, (r, m) => Math.Max(0, r - m)), result.Row("registrations saved"));
        // Each side rents a ring, and the sender also the buffers into which it reads the file. How often depends on
        // how soon these are written and free again.
        Assert.All(rents, r => Assert.True(r >= 2));
        // This is what an ordinary user may lock on most distributions.
        Assert.All(result.Row("bytes registered"), b => Assert.InRange(b, 1, 8 << 20));
    }

    /// <summary>
    /// Both sides are ranks that mpirun has started, and MPI itself passes the receiver's ticket to the sender.
    /// eng/demo does the same with Open MPI.
    /// </summary>
    [Theory]
    [InlineData("openmpi", "mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-n", "2")]
    [InlineData("mpich", "mpirun.mpich", "-n", "2")]
    public async Task AFileArrivesWholeByMpi(string name, params string[] mpirun)
    {
        string file = _source.Write("data.bin", (10 << 20) + 12345);
        await using var sample = new SampleProcess(mpirun, ["--provider", "mpi", "--file", file, "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        Assert.True(result.ExitCode == 0, result.Error);
        Assert.Contains($"over {name}", result.Output, StringComparison.Ordinal);
        Assert.Contains("the same on both sides", result.Output, StringComparison.Ordinal);
        AssertSame(file);
        Assert.Equal([0L, 0L], result.Row("registrations made after warm-up"));
    }

    /// <summary>The rank that can't continue passes the reason to the other one.</summary>
    [Fact]
    public async Task ARankWithoutItsFileFailsBothByMpi()
    {
        await using var sample = new SampleProcess(["mpirun.mpich", "-n", "2"], ["--provider", "mpi", "--file", _source.Path + "/nothing", "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("error: The sender failed: ", result.Error, StringComparison.Ordinal);
    }

    /// <summary>Otherwise the sender would wait for a ticket.</summary>
    [Fact]
    public async Task ARankThatCanKeepNothingFailsBothByMpi()
    {
        string file = _source.Write("data.bin", 12345);
        await using var sample = new SampleProcess(["mpirun.mpich", "-n", "2"], ["--provider", "mpi", "--file", file, "--output", file]);
        SampleResult result = await sample.EndAsync();
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains($"error: The receiver failed: The output directory '{file}' can't be used", result.Error, StringComparison.Ordinal);
    }

    /// <summary>The environment tells UCX which transports it may use.</summary>
    [Theory]
    [InlineData("UCX_TLS=tcp")]
    [InlineData("UCX_TLS=shm")]
    [InlineData("UCX_TLS=shm,self", "--AllocTools:Provider:ErrorHandling=None")]
    public async Task AFileArrivesWholeByUcx(string transports, params string[] options)
    {
        string file = _source.Write("data.bin", (10 << 20) + 12345);
        await using var sample = new SampleProcess(["env", transports], [.. SampleProcess.On("ucx"), .. options, "--file", file, "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(0, result.ExitCode);
        Assert.Contains("over ucx", result.Output, StringComparison.Ordinal);
        Assert.Contains("the same on both sides", result.Output, StringComparison.Ordinal);
        AssertSame(file);
        Assert.Equal([0L, 0L], result.Row("registrations made after warm-up"));
        Assert.Equal(result.Row("rents"), result.Row("hits"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(65536)]
    [InlineData((1 << 20) - 33)]
    [InlineData((1 << 20) - 32)]
    [InlineData((1 << 20) - 31)]
    [InlineData((4 << 20) + 1)]
    public async Task FilesOfAnyLengthArriveWhole(long length)
    {
        string file = _source.Write("data.bin", length);
        SampleResult result = await RunAsync("--file", file, "--output", _target.Path);
        Assert.Equal("", result.Error);
        Assert.Equal(0, result.ExitCode);
        AssertSame(file);
    }

    [Fact]
    public async Task ReceiverAndSenderCanBeStartedByThemselves()
    {
        string file = _source.Write("data.bin", 1 << 20);
        await using var receiver = new SampleProcess("--role", "receiver", "--output", _target.Path);
        await receiver.ReadUntilAsync("with this ticket");
        string ticket = await receiver.ReadLineAsync();
        await using var sender = new SampleProcess("--role", "sender", "--peer", ticket, "--file", file);
        Assert.Equal(0, (await sender.EndAsync()).ExitCode);
        Assert.Equal(0, (await receiver.EndAsync()).ExitCode);
        AssertSame(file);
    }

    [Fact]
    public async Task AFileThatIsThereIsNotOverwrittenUnasked()
    {
        string file = _source.Write("data.bin", 1000);
        string old = _target.Write("data.bin", 10);
        byte[] before = await File.ReadAllBytesAsync(old, TestContext.Current.CancellationToken);
        AssertFailed(await RunAsync("--file", file, "--output", _target.Path), "data.bin");
        Assert.Equal(before, await File.ReadAllBytesAsync(old, TestContext.Current.CancellationToken));
        Assert.Equal(0, (await RunAsync("--file", file, "--output", _target.Path, "--overwrite")).ExitCode);
        AssertSame(file);
    }

    [Theory]
    [InlineData("There is no file '/no/such/file'", "--file", "/no/such/file")]
    [InlineData("Provider 'warp'", "--provider", "warp")]
    [InlineData("--bogus", "--bogus")]
    [InlineData("Did you mean --provider?", "--provder", "shm")]
    [InlineData("Transfer:Timeout is 0; it must be between 1 and 3600 seconds.", "--timeout", "0")]
    [InlineData("Failed to convert configuration value 'soon' at 'Transfer:Timeout'", "--timeout", "soon")]
    [InlineData("Chunks", "--Transfer:Chunks=1")]
    [InlineData("Transfer:Role is 'sendr'; it must be Both, Receiver or Sender.", "--role", "sendr")]
    [InlineData("AllocTools:MaxRegisteredBytes is 12", "--AllocTools:MaxRegisteredBytes=12")]
    [InlineData("/no/such/libfabric.so", "--AllocTools:Provider:LibraryPath=/no/such/libfabric.so")]
    [InlineData("ticket", "--role", "sender", "--peer", "AAAA")]
    public async Task WhatIsWrongIsSaidInOneLine(string says, params string[] arguments) =>
        AssertFailed(await RunAsync([.. arguments, "--output", _target.Path]), says);

    [Fact]
    public async Task AnOutputThatCantBeMadeIsSaidInOneLine() =>
        AssertFailed(await RunAsync("--file", _source.Write("data.bin", 1), "--output", "/proc/x"), "The output directory '/proc/x' can't be used: it can't be created there.");

    [Fact]
    public async Task AnOutputThatIsNoDirectoryIsSaidInOneLine()
    {
        string file = _source.Write("data.bin", 1000);
        AssertFailed(await RunAsync("--file", file, "--output", file), file);
    }

    [Fact]
    public async Task APeerThatIsGoneIsSaidInOneLineWithinTheTimeout()
    {
        string file = _source.Write("data.bin", 1000);
        string ticket;
        await using (var receiver = new SampleProcess("--role", "receiver", "--output", _target.Path))
        {
            await receiver.ReadUntilAsync("with this ticket");
            ticket = await receiver.ReadLineAsync();
        }
        var clock = Stopwatch.StartNew();
        AssertFailed(await RunAsync(["--role", "sender", "--peer", ticket, "--file", file, .. ShortTimeout]), "", wasKilled: true);
        Assert.True(clock.Elapsed < TestTime.Seconds(30), $"it took {clock.Elapsed}");
    }

    [Fact]
    public async Task AFullDiskIsSaidInOneLineAndLeavesNothing()
    {
        string file = _source.Write("data.bin", 8 << 20);
        // A disk of 4 MiB is mounted in a mount namespace; what is left on it is listed before it is removed.
        await using var sample = new SampleProcess(
            [.. MountNamespace, "sh", "-c", $"mount -t tmpfs -o size=4m tmpfs '{_target.Path}' && \"$@\"; code=$?; echo left: $(ls -A '{_target.Path}'); exit $code", "sh"],
            ["--file", file, "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        AssertFailed(result, "No space left on device");
        Assert.EndsWith("left:", result.Output.TrimEnd(), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(ProvidersWithEndings))]
    public async Task AKilledReceiverIsSaidInOneLineAndLeavesNothingUnderTheFinalName(string fabric)
    {
        string file = _source.WriteSparse("data.bin", LongFile);
        await using var sample = new SampleProcess([.. SampleProcess.On(fabric), "--file", file, "--output", _target.Path, .. ShortTimeout]);
        await sample.ReadUntilAsync("%");
        var clock = Stopwatch.StartNew();
        using (Process child = Process.GetProcessById(sample.ChildId()))
            child.Kill();
        SampleResult result = await sample.EndAsync();
        Assert.True(clock.Elapsed < TestTime.Seconds(30), $"it took {clock.Elapsed}");
        AssertFailed(result, "", wasKilled: true);
    }

    [Theory]
    [MemberData(nameof(ProvidersWithEndings))]
    public async Task AKilledSenderEndsItsReceiverWhichLeavesNothing(string fabric)
    {
        string file = _source.WriteSparse("data.bin", LongFile);
        await using var sample = new SampleProcess([.. SampleProcess.On(fabric), "--file", file, "--output", _target.Path, .. ShortTimeout]);
        await sample.ReadUntilAsync("%");
        using Process child = Process.GetProcessById(sample.ChildId());
        sample.Kill();
        await child.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken);
        Assert.Empty(_target.Files);
    }

    [Fact]
    public async Task ASourceThatChangesWhileItIsSentIsSaidInOneLine()
    {
        string file = _source.WriteSparse("data.bin", LongFile);
        await using var sample = new SampleProcess("--file", file, "--output", _target.Path);
        await sample.ReadUntilAsync("%");
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours(1));
        AssertFailed(await sample.EndAsync(), "'data.bin' was changed while it was being sent.");
    }

    [Fact]
    public async Task TheReasonOfASenderThatFailsIsSaidByItsReceiver()
    {
        string file = _source.WriteSparse("data.bin", LongFile);
        await using var receiver = new SampleProcess("--role", "receiver", "--output", _target.Path);
        await receiver.ReadUntilAsync("with this ticket");
        await using var sender = new SampleProcess("--role", "sender", "--peer", await receiver.ReadLineAsync(), "--file", file);
        await sender.ReadUntilAsync("%");
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours(1));
        Assert.Equal(1, (await sender.EndAsync()).ExitCode);
        AssertFailed(await receiver.EndAsync(), "The sender gave up: 'data.bin' was changed while it was being sent.");
    }

    [Fact]
    public async Task WithoutLibfabricItSaysSoAndDoesTheSameInsideOneProcess()
    {
        string file = _source.Write("data.bin", (3 << 20) + 1);
        // In this mount namespace, the library's file is an empty one.
        string library = LibfabricFile();
        await using var sample = new SampleProcess(
            [.. MountNamespace, "sh", "-c", $"mount --bind /dev/null '{library}' && exec \"$@\"", "sh"],
            ["--file", file, "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(0, result.ExitCode);
        Assert.Contains("apt-get install libfabric1", result.Output + result.Error, StringComparison.Ordinal);
        Assert.Contains("over host", result.Output, StringComparison.Ordinal);
        AssertSame(file);
    }

    private static string LibfabricFile()
    {
        using var find = Process.Start(new ProcessStartInfo("sh", ["-c", "readlink -f \"$(/sbin/ldconfig -p | sed -n 's/.*libfabric.so.1.*=> //p' | head -n 1)\""]) { RedirectStandardOutput = true })!;
        return find.StandardOutput.ReadToEnd().Trim();
    }

    private static async Task<SampleResult> RunAsync(params string[] arguments)
    {
        await using var sample = new SampleProcess(arguments);
        return await sample.EndAsync();
    }

    /// <summary>
    /// Asserts that it fails with one line that gives the reason, a nonzero exit code, and nothing left behind. A
    /// receiver that was killed can't remove its hidden part file, but the final name is still free.
    /// </summary>
    private void AssertFailed(SampleResult result, string says, bool wasKilled = false)
    {
        Assert.NotEqual(0, result.ExitCode);
        string line = Assert.Single(result.ErrorLines);
        Assert.StartsWith("error: ", line, StringComparison.Ordinal);
        Assert.Contains(says, line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", result.Error + result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(_target.Files, f => f.StartsWith('.') && !wasKilled);
        Assert.DoesNotContain(_target.Files, f => f == "data.bin" && new FileInfo(Path.Combine(_target.Path, f)).Length != 10);
    }

    private void AssertSame(string file)
    {
        Assert.Equal([Path.GetFileName(file)], _target.Files);
        Assert.Equal(
            Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file))),
            Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(Path.Combine(_target.Path, Path.GetFileName(file))))));
    }
}
