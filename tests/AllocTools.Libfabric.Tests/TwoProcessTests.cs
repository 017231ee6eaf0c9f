using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class TwoProcessTests : TwoProcessConformance<FabricProcesses>
{
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WriteChangesBlock3OfASlabAndNothingElse(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(fabric);
        for (int i = 0; i < 8; i++)
            Assert.Equal($"{i}", await side.Process.AskAsync("rent 16384 34"));
        string[] before = await HashesAsync(side);
        using RmaBuffer source = side.Pool.Rent(16384);
        RandomNumberGenerator.Fill(source.Span);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(3, 0, 16384));
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        string[] after = await HashesAsync(side);
        before[3] = Convert.ToHexString(SHA256.HashData(source.Span));
        Assert.Equal(before, after);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MessagesGoBothWays(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 4096 0");
        using RmaBuffer buffer = side.Pool.Rent(4096);
        for (int i = 1; i <= 50; i++)
        {
            buffer.Span.Fill((byte)i);
            await side.Process.TellAsync("receive 0");
            await side.Endpoint.SendAsync(buffer.Slice(0, i * 7), side.Peer, cancellationToken: Token);
            Assert.Equal($"{i * 7}", await side.Process.AnswerAsync());
            ValueTask<RmaReceiveResult> receiving = side.Endpoint.ReceiveAsync(buffer, cancellationToken: Token);
            await side.Process.TellAsync($"send 0 {i * 7}");
            Assert.Equal(i * 7, (await receiving).Length);
            Assert.False(buffer.Span[..(i * 7)].ContainsAnyExcept((byte)i));
            Assert.Equal("ok", await side.Process.AnswerAsync());
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ThePeerWritesToUs(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 77");
        using RmaBuffer target = side.Pool.Rent(65536);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(100, 60000, RmaAccess.RemoteWrite);
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {Convert.ToBase64String(exposure.Remote.ToArray())}"));
        Assert.False(target.GetSpan(100, 60000).ContainsAnyExcept((byte)77));
        Assert.False(target.GetSpan(0, 100).ContainsAnyExcept((byte)0));
        Assert.False(target.GetSpan(60100, 5436).ContainsAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatHangsTimesOutAndItsBufferIsQuarantinedUntilItGoesOn(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(1);
        await using LocalSide side = await FabricProcesses.StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer source = side.Pool.Rent(1 << 20);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Exception? error = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        side.Process.Resume();
        // shm with virtual addresses copies through the kernel, and verbs through the device; they don't need the peer to run.
        if ((fabric == Fabric.SharedMemoryByAddress || Fabric.IsVerbs(fabric)) && error is null)
        {
            source.Dispose();
            return;
        }
        Assert.IsType<RmaTimeoutException>(error);
        Assert.Contains($"{timeout.TotalSeconds} s", error.Message, StringComparison.Ordinal);
        source.Dispose();
        // The completion has either arrived by now or arrives soon: then nothing is held any more.
        for (int i = 0; side.Pool.GetStatistics().QuarantinedBuffers != 0; i++)
        {
            Assert.True(i < 100, "the buffer stays in quarantine though its peer goes on");
            using RmaBuffer other = side.Pool.Rent(1 << 20);
            Assert.NotEqual(source, other);
            await side.Endpoint.WriteAsync(other, remote, timeout: TestTime.Seconds(20), cancellationToken: Token);
        }
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);
    }

    protected override void AssertIsFound(string fabric, PeerProcess process) =>
        Assert.True(!fabric.StartsWith("shm", StringComparison.Ordinal) || Directory.EnumerateFiles("/dev/shm", $"alloctools-{process.Id}-*").Any());

    /// <summary>A verbs device accepts all writes to a process as long as it is not killed.</summary>
    protected override void AssertErrorsOfKilled(string fabric, IReadOnlyList<RmaOperationException> errors) => Assert.True(errors.Count > 0 || Fabric.IsVerbs(fabric));

    private static async Task<string[]> HashesAsync(LocalSide side)
    {
        string[] hashes = new string[8];
        for (int i = 0; i < hashes.Length; i++)
            hashes[i] = await side.Process.AskAsync($"hash {i}");
        return hashes;
    }
}
