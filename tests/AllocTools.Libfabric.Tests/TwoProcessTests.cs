using System.Diagnostics;
using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class TwoProcessTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WriteChangesBlock3OfASlabAndNothingElse(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
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
    public async Task WritesAndReadsAtOddOffsetsMeetTheRightBytes(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 1");
        await side.Process.AskAsync("rent 65536 2");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(1, 4099, 9001));
        using RmaBuffer buffer = side.Pool.Rent(9001);
        RandomNumberGenerator.Fill(buffer.Span);
        await side.Endpoint.WriteAsync(buffer.Slice(3, 5003), remote.Slice(1001, 5003), cancellationToken: Token);
        Assert.Equal(Convert.ToHexString(buffer.GetSpan(3, 5003)), await side.Process.AskAsync($"peek 1 {4099 + 1001} 5003"));
        Assert.Equal("02", await side.Process.AskAsync($"peek 1 {4099 + 1000} 1"));
        Assert.Equal("02", await side.Process.AskAsync($"peek 1 {4099 + 1001 + 5003} 1"));

        using RmaBuffer back = side.Pool.Rent(9001);
        await side.Endpoint.ReadAsync(back, remote, cancellationToken: Token);
        Assert.True(back.GetSpan(1001, 5003).SequenceEqual(buffer.GetSpan(3, 5003)));
        Assert.False(back.Span[..1001].ContainsAnyExcept((byte)2));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AWriteOfManyMegabytesArrivesWhole(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
        const int Length = (24 << 20) + 17;
        await side.Process.AskAsync($"rent {Length} 0");
        using RmaBuffer source = side.Pool.Rent(Length);
        RandomNumberGenerator.Fill(source.Span);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, Length));
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal(Convert.ToHexString(SHA256.HashData(source.Span)), await side.Process.AskAsync("hash 0"));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MessagesGoBothWays(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
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
        await using LocalSide side = await LocalSide.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 77");
        using RmaBuffer target = side.Pool.Rent(65536);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(100, 60000, RmaAccess.RemoteWrite);
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {Convert.ToBase64String(exposure.Remote.ToArray())}"));
        Assert.False(target.GetSpan(100, 60000).ContainsAnyExcept((byte)77));
        Assert.False(target.GetSpan(0, 100).ContainsAnyExcept((byte)0));
        Assert.False(target.GetSpan(60100, 5436).ContainsAnyExcept((byte)0));
    }

    // A NullReferenceException begins as SIGSEGV, at which libfabric's shm, if left its handler, removes what peers find
    // the process by.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AProcessThatHasCaughtANullReferenceIsStillFound(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
        await side.Process.AskAsync("rent 4096 5");
        using RmaBuffer target = side.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(0, 4096, RmaAccess.RemoteWrite);
        Assert.Equal("caught", await side.Process.AskAsync("fault"));
        Assert.True(!fabric.StartsWith("shm", StringComparison.Ordinal) || Directory.EnumerateFiles("/dev/shm", $"alloctools-{side.Process.Id}-*").Any());
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {Convert.ToBase64String(exposure.Remote.ToArray())}"));
        Assert.False(target.Span.ContainsAnyExcept((byte)5));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task BytesArriveAtATargetThatIsBusyElsewhere(string fabric)
    {
        await using LocalSide side = await LocalSide.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        using RmaBuffer source = side.Pool.Rent(65536);
        source.Span.Fill(9);
        await side.Process.TellAsync("busy 0 65535 9");
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal("seen", await side.Process.AnswerAsync());
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AKilledPeerFailsEveryOperationInTimeAndItsBuffersComeBack(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(2);
        await using LocalSide side = await LocalSide.StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        RmaBuffer source = side.Pool.Rent(65536);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.KillAsync();

        await FailsInTimeAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask(), timeout);
        await FailsInTimeAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask(), timeout);
        await FailsInTimeAsync(() => side.Endpoint.ReadAsync(source, remote, cancellationToken: Token).AsTask(), timeout);
        // What waits for a message that nobody sends any more times out, too.
        await FailsInTimeAsync(() => side.Endpoint.ReceiveAsync(source, cancellationToken: Token).AsTask(), timeout);
        source.Dispose();
        await side.CloseEndpointAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatIsKilledUnderManyWritesFailsThemAllInTime(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(2);
        await using LocalSide side = await LocalSide.StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        using (RmaBuffer first = side.Pool.Rent(1 << 20))
            await side.Endpoint.WriteAsync(first, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        RmaBuffer[] sources = [.. Enumerable.Range(0, 64).Select(_ => side.Pool.Rent(1 << 20))];
        Task[] writes = [.. sources.Select(s => side.Endpoint.WriteAsync(s, remote, cancellationToken: Token).AsTask())];
        await side.Process.KillAsync();
        var clock = Stopwatch.StartNew();
        int failed = 0;
        foreach (Task write in writes)
        {
            try
            {
                await write;
            }
            catch (RmaOperationException)
            {
                failed++;
            }
        }
        Assert.True(clock.Elapsed < timeout + TestTime.Seconds(10), $"it took {clock.Elapsed}");
        // Of a process that is not killed yet a verbs device takes all that is written.
        Assert.True(failed > 0 || Fabric.IsVerbs(fabric));
        // Quarantined or not, each may be returned now.
        foreach (RmaBuffer source in sources)
            source.Dispose();
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);
        await side.CloseEndpointAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatHangsTimesOutAndItsBufferIsQuarantinedUntilItGoesOn(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(1);
        await using LocalSide side = await LocalSide.StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer source = side.Pool.Rent(1 << 20);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Exception? error = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        side.Process.Resume();
        // shm with virtual addresses copies by the kernel, verbs by the device; they need no peer that runs.
        if ((fabric == Fabric.SharedMemoryByAddress || Fabric.IsVerbs(fabric)) && error is null)
        {
            source.Dispose();
            return;
        }
        Assert.IsType<RmaTimeoutException>(error);
        Assert.Contains($"{timeout.TotalSeconds} s", error.Message, StringComparison.Ordinal);
        source.Dispose();
        // Either the completion has come by now or it comes: then nothing is held any more.
        for (int i = 0; side.Pool.GetStatistics().QuarantinedBuffers != 0; i++)
        {
            Assert.True(i < 100, "the buffer stays in quarantine though its peer goes on");
            using RmaBuffer other = side.Pool.Rent(1 << 20);
            Assert.NotEqual(source, other);
            await side.Endpoint.WriteAsync(other, remote, timeout: TestTime.Seconds(20), cancellationToken: Token);
        }
        Assert.Equal(0, side.Pool.GetStatistics().RentedBuffers);
    }

    private static async Task FailsInTimeAsync(Func<Task> operation, TimeSpan timeout)
    {
        var clock = Stopwatch.StartNew();
        RmaOperationException error = await Assert.ThrowsAnyAsync<RmaOperationException>(operation);
        Assert.NotEqual(0, error.ErrorCode);
        Assert.True(error.ErrorCode > 0);
        Assert.True(clock.Elapsed < timeout + TestTime.Seconds(10), $"it took {clock.Elapsed}: {error.Message}");
    }

    private static async Task<string[]> HashesAsync(LocalSide side)
    {
        string[] hashes = new string[8];
        for (int i = 0; i < hashes.Length; i++)
            hashes[i] = await side.Process.AskAsync($"hash {i}");
        return hashes;
    }
}
