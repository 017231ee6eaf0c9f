using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>Tests that one of the processes is asked to stop, or killed, while a file is being transferred.</summary>
public sealed class StoppedTests : IDisposable
{
    /// <summary>The sample's timeout in seconds: far more than an end without a timeout takes.</summary>
    private const int Timeout = 60;

    private readonly TemporaryFolder _source = new();
    private readonly TemporaryFolder _target = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _source.Dispose();
        _target.Dispose();
    }

    [Theory]
    [InlineData("TERM", true)]
    [InlineData("TERM", false)]
    [InlineData("INT", true)]
    [InlineData("INT", false)]
    public async Task ASignalToEitherProcessEndsBoth(string signal, bool toSender)
    {
        await using SampleProcess sample = await StartAsync("tcp;ofi_rxm", "--timeout", $"{Timeout}");
        int child = sample.ChildId();
        var clock = Stopwatch.StartNew();
        await SignalAsync(signal, toSender ? sample.Id : child);
        SampleResult result = await sample.EndAsync();
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(Timeout), $"it took {clock.Elapsed}");
        Assert.Equal(!toSender ? 1 : signal == "TERM" ? 143 : 130, result.ExitCode);
        Assert.Contains("stopped", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.False(IsAlive(child));
        Assert.Empty(_target.Files);
    }

    [Theory]
    [InlineData("tcp;ofi_rxm")]
    [InlineData("shm")]
    [InlineData("sockets")]
    public async Task AKilledReceiverIsReportedAtOnceAndItsPartIsRemoved(string provider)
    {
        await using SampleProcess sample = await StartAsync(provider, "--timeout", $"{Timeout}");
        var clock = Stopwatch.StartNew();
        await SignalAsync("KILL", sample.ChildId());
        SampleResult result = await sample.EndAsync();
        // The end of the other process is noticed; nobody waits for a timeout.
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(Timeout), $"it took {clock.Elapsed}");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("killed by signal 9", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.Empty(_target.Files);
    }

    [Fact]
    public async Task AReceiverThatHangsIsEndedAfterTheTimeout()
    {
        await using SampleProcess sample = await StartAsync("tcp;ofi_rxm", "--timeout", TestTime.Seconds(3).TotalSeconds.ToString(CultureInfo.InvariantCulture));
        int child = sample.ChildId();
        var clock = Stopwatch.StartNew();
        await SignalAsync("STOP", child);
        SampleResult result = await sample.EndAsync();
        Assert.True(clock.Elapsed < TestTime.Seconds(30), $"it took {clock.Elapsed}");
        Assert.Equal(1, result.ExitCode);
        Assert.Single(result.ErrorLines);
        Assert.False(IsAlive(child));
        Assert.Empty(_target.Files);
    }

    [Theory]
    [InlineData("tcp;ofi_rxm", true)]
    [InlineData("tcp;ofi_rxm", false)]
    [InlineData("shm", true)]
    [InlineData("shm", false)]
    [InlineData("sockets", true)]
    [InlineData("sockets", false)]
    public async Task OfTwoThatWereStartedByThemselvesTheOtherOneEndsWithinTheTimeout(string provider, bool killsSender)
    {
        string file = _source.WriteSparse("data.bin", 2L << 30);
        await using var receiver = new SampleProcess("--role", "receiver", "--provider", provider, "--output", _target.Path, "--timeout", "8");
        await receiver.ReadUntilAsync("with this ticket");
        string ticket = await receiver.ReadLineAsync();
        await using var sender = new SampleProcess("--role", "sender", "--provider", provider, "--peer", ticket, "--file", file, "--timeout", "8");
        await sender.ReadUntilAsync("%");
        var clock = Stopwatch.StartNew();
        (killsSender ? sender : receiver).Kill();
        SampleResult result = await (killsSender ? receiver : sender).EndAsync();
        Assert.True(clock.Elapsed < TestTime.Seconds(60), $"it took {clock.Elapsed}");
        Assert.Equal(1, result.ExitCode);
        Assert.StartsWith("error: ", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.DoesNotContain("data.bin", _target.Files);
        if (killsSender)
            Assert.Empty(_target.Files);
    }

    [Fact]
    public async Task WhatAKilledReceiverLeftGoesWithTheNextOne()
    {
        string abandoned = _target.Write(".alloctools-0123.part", 10);
        string inUse = Path.Combine(_target.Path, ".alloctools-4567.part");
        await using FileStream locked = new(inUse, FileMode.CreateNew, FileAccess.Write, FileShare.None);
        await using var sample = new SampleProcess("--file", _source.Write("data.bin", 1000), "--output", _target.Path);
        Assert.Equal(0, (await sample.EndAsync()).ExitCode);
        Assert.False(File.Exists(abandoned));
        Assert.True(File.Exists(inUse));
    }

    [Fact]
    public async Task AFileThatMayNotGetSoLongIsSaidInOneLine()
    {
        string file = _source.Write("data.bin", 8 << 20);
        // The runtime's own mapped files would exceed the limit, too (W^X).
        await using var sample = new SampleProcess(
            ["env", "DOTNET_EnableWriteXorExecute=0", "sh", "-c", "trap '' XFSZ; exec prlimit --fsize=4194304 -- \"$@\"", "sh"],
            ["--file", file, "--output", _target.Path]);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("does not allow files of this length", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.Empty(_target.Files);
    }

    private async Task<SampleProcess> StartAsync(string provider, params string[] more)
    {
        string file = _source.WriteSparse("data.bin", 2L << 30);
        var sample = new SampleProcess(["--provider", provider, "--file", file, "--output", _target.Path, .. more]);
        try
        {
            await sample.ReadUntilAsync("%");
            return sample;
        }
        catch
        {
            await sample.DisposeAsync();
            throw;
        }
    }

    private static async Task SignalAsync(string signal, int processId)
    {
        using var kill = Process.Start("kill", [$"-{signal}", processId.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync(Token);
    }

    private static bool IsAlive(int processId)
    {
        try
        {
            return File.ReadLines($"/proc/{processId}/status").Any(l => l.StartsWith("State:", StringComparison.Ordinal) && !l.Contains('Z', StringComparison.Ordinal));
        }
        catch (IOException)
        {
            return false;
        }
    }
}
