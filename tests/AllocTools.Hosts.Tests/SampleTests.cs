using System.Globalization;
using System.Text.RegularExpressions;
using AllocTools.Sample.Tests;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <inheritdoc/>
public sealed class LibfabricSampleTests() : SampleTests("tcp;ofi_rxm")
{
    /// <summary>
    /// UCX 1.13 itself ends a receiver that has been stopped for longer than it takes the other side to give it up.
    /// </summary>
    [Fact]
    public Task WhatHasComeIsNotSentAgainAfterAReceiverHasHung() => WhatHasComeIsNotSentAgainAfterABadDay(End.ReceiverHangs);
}

/// <inheritdoc/>
public sealed class UcxSampleTests() : SampleTests("ucx");

/// <summary>Tests the sample, which moves a file from host to host, on a bad day.</summary>
public abstract partial class SampleTests(string provider) : IDisposable
{
    private const int Length = 100 << 20;
    private readonly TemporaryFolder _source = new();
    private readonly TemporaryFolder _target = new();

    /// <summary>The way in which the first transfer ends.</summary>
    public enum End
    {
        SenderIsKilled,
        ReceiverIsKilled,
        ReceiverHangs,
        LinkIsCut,
    }

    public void Dispose()
    {
        _source.Dispose();
        _target.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData(End.SenderIsKilled)]
    [InlineData(End.ReceiverIsKilled)]
    [InlineData(End.LinkIsCut)]
    public async Task WhatHasComeIsNotSentAgainAfterABadDay(End end)
    {
        string file = _source.Write("data.bin", Length);
        await using HostNetwork network = await HostNetwork.StartAsync();
        // The transfer takes some seconds.
        await network[0].LimitAsync("160mbit");
        (SampleProcess receiver, SampleProcess sender) = await StartAsync();
        await using (receiver)
        await using (sender)
        {
            await sender.ReadUntilAsync("%");
            switch (end)
            {
                case End.SenderIsKilled:
                    sender.Kill();
                    break;
                case End.ReceiverIsKilled:
                    receiver.Kill();
                    break;
                case End.ReceiverHangs:
                    await network[1].RunAsync("kill", "-STOP", receiver.Id.ToString(CultureInfo.InvariantCulture));
                    break;
                default:
                    await network[1].CutAsync();
                    break;
            }
            if (end != End.SenderIsKilled)
                await AssertFailsAsync(sender);
            Assert.DoesNotContain("data.bin", _target.Files);
            if (end == End.ReceiverHangs)
                await network[1].RunAsync("kill", "-CONT", receiver.Id.ToString(CultureInfo.InvariantCulture));
            if (end != End.ReceiverIsKilled)
                await AssertFailsAsync(receiver);
        }
        string part = Assert.Single(_target.Files);
        Assert.NotEqual("data.bin", part);
        long kept = new FileInfo(Path.Combine(_target.Path, part)).Length;
        Assert.InRange(kept, 1, Length - 1);

        if (end == End.LinkIsCut)
            await network[1].RestoreAsync();
        (receiver, sender) = await StartAsync();
        await using (receiver)
        await using (sender)
        {
            SampleResult result = await sender.EndAsync();
            Assert.Equal("", string.Join('\n', result.ErrorLines));
            Assert.Equal(0, result.ExitCode);
            Assert.Equal(kept, long.Parse(Resumed().Match(result.Output).Groups["bytes"].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture));
            Assert.Equal(0, (await receiver.EndAsync()).ExitCode);
        }
        Assert.Equal(["data.bin"], _target.Files);
        Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_target.Path, "data.bin"))));

        async Task<(SampleProcess Receiver, SampleProcess Sender)> StartAsync()
        {
            var receiver = new SampleProcess(network[1].Inside, ["--role", "receiver", "--output", _target.Path, "--resume", .. On(network[1])]);
            await receiver.ReadUntilAsync("with this ticket");
            return (receiver, new SampleProcess(network[0].Inside, ["--role", "sender", "--peer", await receiver.ReadLineAsync(), "--file", file, .. On(network[0])]));
        }

        string[] On(NetworkHost host) =>
        [
            "--provider", provider, "--node", host.Address, .. provider == "ucx" ? (string[])["--domain", "eth0"] : [], "--timeout", TestTime.Seconds(8).TotalSeconds.ToString(CultureInfo.InvariantCulture),
        ];
    }

    /// <summary>Asserts that it ends with one line that gives the reason.</summary>
    private static async Task AssertFailsAsync(SampleProcess sample)
    {
        SampleResult result = await sample.EndAsync();
        Assert.True(result.ExitCode == 1, $"It ended with {result.ExitCode}: {result.Error}");
        Assert.StartsWith("error: ", result.ErrorLines[0], StringComparison.Ordinal);
    }

    [GeneratedRegex("^resumed at (?<bytes>[0-9,]+) bytes$", RegexOptions.Multiline)]
    private static partial Regex Resumed();
}
