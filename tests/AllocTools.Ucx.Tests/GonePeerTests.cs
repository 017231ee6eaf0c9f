using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests peers whose process is killed, or hangs.</summary>
public sealed class GonePeerTests
{
    public static TheoryData<string> Fabrics => [.. UcxFabric.All];

    public static TheoryData<string> FabricsThatNotice => [.. UcxFabric.All.Where(UcxFabric.HasErrorHandling)];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>This works without any operation under way, and well within KeepaliveInterval, 20 s.</summary>
    [Theory]
    [MemberData(nameof(FabricsThatNotice))]
    public async Task AKilledPeerIsReportedAndComesBackAsAnotherOne(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric, o => o.Endpoint.OperationTimeout = TimeSpan.FromHours(1));
        await side.Process.AskAsync("rent 4096 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 4096));
        using RmaBuffer source = side.Pool.Rent(4096);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        IAsyncEnumerable<RmaPeerChange> losses = side.Endpoint.ReadPeerChangesAsync(Token);
        var clock = Stopwatch.StartNew();
        await side.Process.KillAsync();
        await foreach (RmaPeerChange lost in losses)
        {
            Assert.True(clock.Elapsed < TestTime.Seconds(5), $"it took {clock.Elapsed}");
            Assert.Equal(side.Peer, lost.Peer);
            Assert.Contains("its process has ended", lost.Reason, StringComparison.Ordinal);
            break;
        }
        RmaPeerLostException error = await Assert.ThrowsAsync<RmaPeerLostException>(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        Assert.Contains("provider 'ucx'", error.Message, StringComparison.Ordinal);
        await using var next = new PeerProcess("ucx", fabric, "RemoteWrite");
        RmaPeer peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await next.AskAsync("address")));
        await next.AskAsync("rent 4096 0");
        await next.TellAsync("receive 0");
        await side.Endpoint.SendAsync(source, peer, cancellationToken: Token);
        Assert.Equal("4096", await next.AnswerAsync());
    }

    /// <summary>
    /// Shared memory closes no connection on its own: UCX watches the process. Both sides are separate processes,
    /// because the setting applies to the process.
    /// </summary>
    [Theory]
    [InlineData("posix@")]
    [InlineData("sysv@")]
    public async Task AKilledPeerIsNoticedOverSharedMemoryThatIsAskedForByName(string fabric)
    {
        await using var observer = new PeerProcess(["env", "UCX_KEEPALIVE_INTERVAL=500ms"], ["ucx", fabric, "RemoteWrite"]);
        await using var peer = new PeerProcess("ucx", fabric, "RemoteWrite");
        Assert.Equal("ok", await observer.AskAsync($"peer {await peer.AskAsync("address")}"));
        await observer.AskAsync("rent 64 0");
        await peer.AskAsync("rent 64 0");
        await peer.TellAsync("receive 0");
        Assert.Equal("ok", await observer.AskAsync("send 0 64"));
        Assert.Equal("64", await peer.AnswerAsync());
        var clock = Stopwatch.StartNew();
        await peer.KillAsync();
        string answer;
        // There is room for messages, whether or not anybody receives them.
        do
            answer = await observer.AskAsync("send 0 64");
        while (answer == "ok");
        Assert.Contains("its process has ended", answer, StringComparison.Ordinal);
        Assert.True(clock.Elapsed < TestTime.Seconds(10), $"it took {clock.Elapsed}");
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatHangsTimesOutAndItsBufferIsQuarantinedUntilItGoesOn(string fabric)
    {
        TimeSpan timeout = TestTime.Seconds(1);
        await using LocalSide side = await UcxProcesses.StartAsync(fabric, o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer source = side.Pool.Rent(1 << 20);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Exception? error = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
        Assert.Equal(1, side.Pool.GetStatistics().RentedBuffers);
        side.Process.Resume();
        Assert.IsType<RmaTimeoutException>(error);
        Assert.Contains($"{timeout.TotalSeconds} s", error.Message, StringComparison.Ordinal);
        source.Dispose();
        Assert.True(SpinWait.SpinUntil(() => side.Pool.GetStatistics() is { QuarantinedBuffers: 0, RentedBuffers: 0 }, TestTime.Seconds(30)), "the buffer stays in quarantine though its peer goes on");
        using RmaBuffer other = side.Pool.Rent(1 << 20);
        await side.Endpoint.WriteAsync(other, remote, timeout: TestTime.Seconds(20), cancellationToken: Token);
    }

    /// <summary>For a while, closing waits for what can still be sent to a peer.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AnEndpointClosesWhileItsPeerHangs(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer source = side.Pool.Rent(1 << 20);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Task[] writes = [.. Enumerable.Range(0, 8).Select(_ => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask())];
        await side.Endpoint.DisposeAsync().AsTask().WaitAsync(TestTime.Seconds(20), Token);
        foreach (Task write in writes)
            await Assert.ThrowsAsync<RmaOperationException>(() => write);
        source.Dispose();
        Assert.True(SpinWait.SpinUntil(() => side.Pool.GetStatistics() is { QuarantinedBuffers: 0, RentedBuffers: 0 }, TestTime.Seconds(30)));
        side.Process.Resume();
    }

    /// <summary>
    /// A hung peer may continue at some time. If it copies what it was sent on its own, closing the endpoint does not
    /// keep it from accessing the buffer.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AMessageThatAPeerMayStillCopyKeepsItsBuffer(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric);
        bool peersCopy = ((UcxContext)side.Pool.Context).LetsPeersCopy;
        if (fabric != UcxFabric.SharedMemory)
            Assert.False(peersCopy);
        await side.Process.AskAsync("rent 1048576 0");
        RmaBuffer message = side.Pool.Rent(1 << 20);
        await side.Process.TellAsync("receive 0");
        await side.Endpoint.SendAsync(message.Slice(0, 1), side.Peer, cancellationToken: Token);
        Assert.Equal("1", await side.Process.AnswerAsync());
        await side.Process.SuspendAsync();
        Task sending = side.Endpoint.SendAsync(message, side.Peer, cancellationToken: Token).AsTask();
        await side.Endpoint.DisposeAsync().AsTask().WaitAsync(TestTime.Seconds(20), Token);
        await Assert.ThrowsAsync<RmaOperationException>(() => sending);
        message.Dispose();
        Assert.Equal(peersCopy ? 1 : 0, side.Pool.GetStatistics().QuarantinedBuffers);
        side.Process.Resume();
    }

    /// <summary>A peer that was lost comes back while an operation with it is under way, which continues.</summary>
    [Fact]
    public async Task AConnectionThatIsReplacedIsClosedAfterItsOperations()
    {
        using var context = (UcxContext)UcxFabric.Open(UcxFabric.Any);
        RmaEndpointOptions options = new() { OperationTimeout = TimeSpan.FromHours(1) };
        var driver = new UcxDriver(context, options);
        await using var endpoint = new RmaEndpoint(context, driver, options);
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        await using var process = new PeerProcess("ucx", UcxFabric.Any, "RemoteWrite");
        byte[] address = Convert.FromBase64String(await process.AskAsync("address"));
        RmaPeer peer = endpoint.InsertPeer(address);
        await process.AskAsync("rent 1048576 0");
        RemoteMemory exposed = RemoteMemory.Read(Convert.FromBase64String(await process.AskAsync("expose 0 0 1048576 RemoteWrite")));
        using RemoteRegion remote = endpoint.Import(peer, exposed);
        using RmaBuffer source = pool.Rent(1 << 20);
        await endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await process.SuspendAsync();
        Task write = endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask();
        UcxPeer known = PeerOf(driver, UcxAddress.NumberOf(address));
        UcxConnection replaced = known.Connection;
        replaced.HasFailed = true;
        driver.OnPeerInserted(known);
        Assert.Equal(2, driver.Connections);
        Assert.NotSame(replaced, known.Connection);
        Assert.Throws<RmaProviderException>(() => replaced.Unpack(exposed.RawKey, calls: null));
        Assert.False(write.IsCompleted);
        process.Resume();
        await write.WaitAsync(TestTime.Seconds(30), Token);
        Assert.True(SpinWait.SpinUntil(() => driver.Connections == 1, TestTime.Seconds(30)), "the connection is not closed after its operations");

        static unsafe UcxPeer PeerOf(UcxDriver driver, ulong number)
        {
            UcxRequest request = default;
            request.Info.sender_tag = number;
            return driver.FindSender(&request)!;
        }
    }

    /// <summary>The peer was inserted while it hung, so UCX waits for its answer.</summary>
    [Fact]
    public async Task APeerThatHungWhenItWasRemovedGetsItsConnectionAgain()
    {
        using var context = (UcxContext)UcxFabric.Open(UcxFabric.Any);
        RmaEndpointOptions options = new();
        var driver = new UcxDriver(context, options);
        await using var endpoint = new RmaEndpoint(context, driver, options);
        await using var process = new PeerProcess("ucx", UcxFabric.Any, "RemoteWrite");
        byte[] address = Convert.FromBase64String(await process.AskAsync("address"));
        await process.SuspendAsync();
        endpoint.RemovePeer(endpoint.InsertPeer(address));
        Assert.Equal(1, driver.Connections);
        process.Resume();
        // Everything is as before.
        RmaPeer peer = endpoint.InsertPeer(address);
        Assert.Equal(1, driver.Connections);
        await process.AskAsync("rent 64 0");
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using RmaBuffer message = pool.Rent(64);
        await process.TellAsync("receive 0");
        await endpoint.SendAsync(message, peer, cancellationToken: Token);
        Assert.Equal("64", await process.AnswerAsync());
        // The connection of a peer that has ended is closed when peers are inserted or removed.
        endpoint.RemovePeer(peer);
        await process.KillAsync();
        Assert.True(
            SpinWait.SpinUntil(
                () =>
                {
                    endpoint.RemovePeer(endpoint.InsertPeer(endpoint.Address.Span));
                    return driver.Connections == 1;
                },
                TestTime.Seconds(30)),
            "the connection of a peer that has ended is not closed");
    }

    /// <summary>UCX keeps what the other side has opened, so both sides would keep another socket each time.</summary>
    [Fact]
    public async Task APeerThatComesAndGoesAgainAndAgainTakesNoMoreSockets()
    {
        await using LocalSide side = await UcxProcesses.StartAsync(UcxFabric.Tcp);
        await side.Process.AskAsync("rent 64 0");
        string address = await side.Process.AskAsync("address"), exposed = Convert.ToBase64String((await side.ExposedAsync(0, 0, 64)).ToArray());
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RmaPeer peer = side.Peer;
        int before = 0;
        for (int round = 0; round < 20; round++)
        {
            using (RemoteRegion remote = side.Endpoint.Import(peer, RemoteMemory.Read(Convert.FromBase64String(exposed))))
                await side.Endpoint.WriteAsync(buffer, remote, cancellationToken: Token);
            Assert.Equal("ok", await side.Process.AskAsync($"write 0 {Convert.ToBase64String(exposure.Remote.ToArray())}"));
            side.Endpoint.RemovePeer(peer);
            Assert.Equal("ok", await side.Process.AskAsync("remove"));
            int sockets = Directory.EnumerateFiles($"/proc/{side.Process.Id}/fd").Count(static f => new FileInfo(f).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true);
            if (round == 0)
                before = sockets;
            else
                Assert.InRange(sockets, 1, before);
            peer = side.Endpoint.InsertPeer(Convert.FromBase64String(address));
            Assert.Equal("ok", await side.Process.AskAsync($"peer {Convert.ToBase64String(side.Endpoint.Address.Span)}"));
        }
    }

    /// <summary>A completed send means that its buffer is free; closing must not drop what has not been sent.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatWasSentBeforeAnEndpointClosesArrives(string fabric)
    {
        await using LocalSide side = await UcxProcesses.StartAsync(fabric);
        await side.Process.AskAsync("rent 8192 0");
        using RmaBuffer message = side.Pool.Rent(8192);
        for (int i = 0; i < 100; i++)
            await side.Endpoint.SendAsync(message.Slice(0, 4000 + i), side.Peer, cancellationToken: Token);
        await side.Endpoint.DisposeAsync();
        for (int i = 0; i < 100; i++)
            Assert.Equal($"{4000 + i}", await side.Process.AskAsync("receive 0"));
    }
}
