using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>Tests a transfer that was ended early, and another one that continues it (<c>--resume</c>).</summary>
public sealed partial class ResumeTests : IDisposable
{
    private readonly TemporaryFolder _source = new();
    private readonly TemporaryFolder _target = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _source.Dispose();
        _target.Dispose();
    }

    /// <param name="provider">The provider.</param>
    /// <param name="killsReceiver">Whether the receiver's process is killed, or the sender's.</param>
    [Theory]
    [InlineData("tcp;ofi_rxm", true)]
    [InlineData("tcp;ofi_rxm", false)]
    [InlineData("shm", true)]
    [InlineData("shm", false)]
    public async Task WhatHasComeIsNotSentAgain(string provider, bool killsReceiver)
    {
        string file = _source.Write("data.bin", 400 << 20);
        string said = await InterruptAsync(provider, file, killsReceiver);
        string part = Assert.Single(_target.Files);
        long kept = new FileInfo(Path.Combine(_target.Path, part)).Length;
        Assert.InRange(kept, 1, (400 << 20) - 1);
        Assert.Contains(Kept(kept), said, StringComparison.Ordinal);

        SampleResult result = await RunAsync("--provider", provider, "--file", file, "--output", _target.Path, "--resume");
        Assert.Equal("", string.Join('\n', result.ErrorLines));
        Assert.Equal(0, result.ExitCode);
        Assert.Equal(kept, long.Parse(Resumed().Match(result.Output).Groups["bytes"].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture));
        Assert.Equal(["data.bin"], _target.Files);
        Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_target.Path, "data.bin"))));
    }

    [Theory]
    [InlineData("TERM", 143)]
    [InlineData("INT", 130)]
    public async Task ASignalSaysWhatIsKept(string signal, int exitCode)
    {
        await using var sample = new SampleProcess("--file", _source.Write("data.bin", 400 << 20), "--output", _target.Path, "--resume", "--timeout", "60");
        await sample.ReadUntilAsync("%");
        using (Process kill = Process.Start("kill", [$"-{signal}", sample.Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync(Token);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(exitCode, result.ExitCode);
        long kept = new FileInfo(Path.Combine(_target.Path, Assert.Single(_target.Files))).Length;
        Assert.Equal(["error: stopped before the whole file was transferred", Kept(kept)], result.ErrorLines);
    }

    [Fact]
    public async Task ASourceThatHasChangedSinceIsRefused()
    {
        string file = _source.Write("data.bin", 400 << 20);
        await InterruptAsync("tcp;ofi_rxm", file, killsReceiver: false);
        File.SetLastWriteTimeUtc(file, File.GetLastWriteTimeUtc(file).AddSeconds(1));
        SampleResult result = await RunAsync("--file", file, "--output", _target.Path, "--resume");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("'data.bin' has changed since a part of it was received", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.Single(_target.Files);
    }

    /// <summary>The time and the length of the source are the same.</summary>
    [Fact]
    public async Task ASourceThatHasOtherBytesIsRefused()
    {
        string file = _source.Write("data.bin", 400 << 20);
        await InterruptAsync("tcp;ofi_rxm", file, killsReceiver: false);
        DateTime changed = File.GetLastWriteTimeUtc(file);
        await using (FileStream other = new(file, FileMode.Open))
            other.Write("other bytes"u8);
        File.SetLastWriteTimeUtc(file, changed);
        SampleResult result = await RunAsync("--file", file, "--output", _target.Path, "--resume");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("differ from those that the receiver has", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.DoesNotContain("data.bin", _target.Files);
    }

    [Fact]
    public async Task WithoutAFolderThereIsNothingToResume()
    {
        SampleResult result = await RunAsync("--resume", "--file", _source.Write("data.bin", 10));
        Assert.Equal(2, result.ExitCode);
        Assert.Contains("Transfer:Resume is set, but OutputDirectory is not", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
    }

    /// <returns>What it has printed about its end.</returns>
    private async Task<string> InterruptAsync(string provider, string file, bool killsReceiver)
    {
        await using var sample = new SampleProcess("--provider", provider, "--file", file, "--output", _target.Path, "--resume", "--timeout", "60");
        await sample.ReadUntilAsync("%");
        using Process receiver = Process.GetProcessById(sample.ChildId());
        if (killsReceiver)
        {
            receiver.Kill();
            SampleResult result = await sample.EndAsync();
            Assert.Equal(1, result.ExitCode);
            return result.Error;
        }
        else
        {
            sample.Kill();
            await receiver.WaitForExitAsync(Token).WaitAsync(TestTime.Seconds(30), Token);
            // The receiver has the standard error of the process that started it.
            return (await sample.EndAsync()).Error;
        }
    }

    private string Kept(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes:N0} bytes of 'data.bin' are kept in '{_target.Path}'; the next transfer into that directory with --resume continues from there.");

    private static async Task<SampleResult> RunAsync(params string[] arguments)
    {
        await using var sample = new SampleProcess(arguments);
        return await sample.EndAsync();
    }

    [GeneratedRegex("^resumed at (?<bytes>[0-9,]+) bytes$", RegexOptions.Multiline)]
    private static partial Regex Resumed();
}
