using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests two processes on one machine.</summary>
public sealed class TwoProcessTests : TwoProcessConformance<UcxProcesses>
{
    private const int ConnectionReset = 104, TimedOut = 110;

    public static TheoryData<string> FabricsWithoutDevices => [.. UcxFabric.WithoutDevices];

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public Task EachProcessOfARingHasTheSumOfAllBitForBit(int ranks) => AllReduce.AssertSumsAsync("ucx-ring", UcxFabric.Any, ranks);

    // Both short messages, and those that UCX lets the receiver fetch.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MessagesGoBothWaysAndSayWhoHasSentThem(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 1048576 0");
        using RmaBuffer buffer = side.Pool.Rent(1 << 20);
        foreach (int length in new[] { 1, 100, 9_000, 1 << 20 })
        {
            buffer.Span.Fill((byte)length);
            await side.Process.TellAsync("receive 0");
            await side.Endpoint.SendAsync(buffer.Slice(0, length), side.Peer, cancellationToken: Token);
            Assert.Equal($"{length}", await side.Process.AnswerAsync());
            buffer.Span.Clear();
            ValueTask<RmaReceiveResult> receiving = side.Endpoint.ReceiveAsync(buffer, cancellationToken: Token);
            await side.Process.TellAsync($"send 0 {length}");
            RmaReceiveResult received = await receiving;
            Assert.Equal((length, side.Peer), (received.Length, received.Sender));
            Assert.False(buffer.GetSpan(0, length).ContainsAnyExcept((byte)length));
            Assert.Equal("ok", await side.Process.AnswerAsync());
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ThePeerWritesToUsAndItsNumberComesWithTheBytes(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 65536 77");
        using RmaBuffer target = side.Pool.Rent(65536);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(100, 60000, RmaAccess.RemoteWrite);
        await side.Process.TellAsync($"notify 0 {Convert.ToBase64String(exposure.Remote.ToArray())} {ulong.MaxValue}");
        await foreach (RmaNotification notification in side.Endpoint.ReadNotificationsAsync(Token))
        {
            Assert.Equal((ulong.MaxValue, side.Peer), (notification.Value, notification.Sender));
            break;
        }
        Assert.False(target.GetSpan(100, 60000).ContainsAnyExcept((byte)77));
        Assert.False(target.GetSpan(0, 100).ContainsAnyExcept((byte)0));
        Assert.False(target.GetSpan(60100, 5436).ContainsAnyExcept((byte)0));
        Assert.Equal("ok", await side.Process.AnswerAsync());
    }

    [Fact]
    public async Task SettingsOfTheOperatorAreKept()
    {
        await using LocalSide side = await UcxProcesses.StartAsync(UcxFabric.Any, wrapper: ["env", "UCX_MEM_EVENTS=y", "UCX_LOG_FILE=stdout", "UCX_TCP_CONN_NB=n"]);
        Assert.Equal("y", await side.Process.AskAsync("variable UCX_MEM_EVENTS"));
        Assert.Equal("stdout", await side.Process.AskAsync("variable UCX_LOG_FILE"));
        Assert.Equal("n", await side.Process.AskAsync("variable UCX_TCP_CONN_NB"));
        Assert.Equal("", await side.Process.AskAsync("variable UCX_ERROR_SIGNALS"));
        Assert.Equal("none", await side.Process.AskAsync("variable UCX_MEM_MMAP_HOOK_MODE"));
        await using LocalSide other = await UcxProcesses.StartAsync(UcxFabric.Any);
        Assert.Equal("n", await other.Process.AskAsync("variable UCX_MEM_EVENTS"));
        Assert.Equal("stderr", await other.Process.AskAsync("variable UCX_LOG_FILE"));
        Assert.Equal("y", await other.Process.AskAsync("variable UCX_TCP_CONN_NB"));
    }

    [Theory]
    [MemberData(nameof(FabricsWithoutDevices))]
    public async Task AProcessThatMayLockNothingRegistersAllItLikes(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric, wrapper: ["prlimit", "--memlock=0"]);
        Assert.False(side.Pool.Context.Traits.LocksPages);
        await side.Process.AskAsync($"rent {8 << 20} 3");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 8 << 20));
        using RmaBuffer buffer = side.Pool.Rent(8 << 20);
        await side.Endpoint.ReadAsync(buffer, remote, cancellationToken: Token);
        Assert.False(buffer.Span.ContainsAnyExcept((byte)3));
        Assert.Equal("0 0", await side.Process.AskAsync("locked"));
    }

    /// <summary>As docs/providers.md says about a write without a right: nobody checks, and the bytes are written.</summary>
    [Theory]
    [MemberData(nameof(FabricsWithoutDevices))]
    public async Task AWriteToMemoryWhoseExposureHasEndedIsNotRefused(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric, peerOptions: "isolated");
        Assert.False(side.Pool.Context.Traits.RemoteAccessEnforced);
        await side.Process.AskAsync("rent 4096 1");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 4096));
        Assert.Equal("ok", await side.Process.AskAsync("conceal 0"));
        using RmaBuffer source = side.Pool.Rent(4096);
        source.Span.Fill(6);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal("0606", await side.Process.AskAsync("peek 0 4094 2"));
    }

    /// <summary>The target's own thread copies the received data to whatever address it is given.</summary>
    [Theory]
    [MemberData(nameof(FabricsWithoutDevices))]
    public async Task AWriteToWhereNothingIsMappedEndsTheTargetsProcess(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric, o => o.Endpoint.OperationTimeout = TestTime.Seconds(2));
        await side.Process.AskAsync("rent 4096 1");
        RemoteMemory known = await side.ExposedAsync(0, 0, 4096);
        RemoteMemory forged = new RemoteMemory(4096, 64, known.RawKey, known.RawBase, RmaAccess.RemoteWrite).Of(known.Transport!);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, forged);
        using RmaBuffer source = side.Pool.Rent(64);
        await Assert.ThrowsAnyAsync<RmaOperationException>(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        // The signal is SIGSEGV, or SIGABRT if the runtime reports something before.
        Assert.Contains((await side.Process.EndAsync()).ExitCode, new[] { 128 + 11, 128 + 6 });
    }

    protected override void AssertErrorsOfKilled(string fabric, IReadOnlyList<RmaOperationException> errors)
    {
        Assert.NotEmpty(errors);
        foreach (RmaOperationException error in errors)
        {
            if (fabric == UcxFabric.SharedMemory)
                Assert.IsType<RmaTimeoutException>(error);
            else
                Assert.Contains(error.ErrorCode, new[] { ConnectionReset, TimedOut });
        }
    }
}
