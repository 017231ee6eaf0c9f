using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Ucx.Interop;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests what only UCX's driver does.</summary>
public sealed partial class DriverTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task AWholeBatchSharesAFewFlushes(RmaProgress progress)
    {
        const int Count = 256, MostRuns = 1000, MostFlushes = 8;
        using IRmaContext opened = UcxFabric.Open(UcxFabric.Any, o => o.Endpoint.Progress = progress);
        var context = (UcxContext)opened;
        RmaEndpointOptions options = new() { Progress = progress };
        var driver = new UcxDriver(context, options);
        await using var endpoint = new RmaEndpoint(context, driver, options);
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        using RmaBuffer source = pool.Rent(Count * 64);
        using RmaBuffer target = pool.Rent(Count * 64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        Task first = endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask();
        await AwaitAsync(first);
        RmaBatch batch = endpoint.CreateBatch(Count);
        for (int i = 0; i < Count; i++)
            batch.Write(source.Slice(i * 64, 64), remote.Slice(i * 64, 64));
        // A progress turn of the endpoint's thread flushes what is there while more is posted: once, or often if other
        // work on the machine delays the poster. So the run with the fewest flushes counts.
        long fewest = long.MaxValue;
        for (int run = 0; run < MostRuns && fewest > MostFlushes; run++)
        {
            long before = driver.StartedFlushes;
            source.Span.Fill((byte)(run + 1));
            await AwaitAsync(batch.RunAsync(cancellationToken: Token).AsTask());
            Assert.False(target.Span.ContainsAnyExcept((byte)(run + 1)));
            long flushes = driver.StartedFlushes - before;
            Assert.InRange(flushes, 1, progress == RmaProgress.Caller ? MostFlushes : Count + MostFlushes);
            fewest = Math.Min(fewest, flushes);
        }
        Assert.InRange(fewest, 1, MostFlushes);

        async Task AwaitAsync(Task task)
        {
            while (progress == RmaProgress.Caller && !task.IsCompleted)
            {
                endpoint.Poll([]);
                await Task.Yield();
            }
            await task.WaitAsync(TestTime.Seconds(30), Token);
        }
    }

    /// <summary>UCX has freed the connection by then.</summary>
    [Fact]
    public unsafe void AConnectionThatIsClosedIsFlushedNoMore()
    {
        using var context = (UcxContext)UcxFabric.Open(UcxFabric.Any);
        RmaEndpointOptions options = new();
        var driver = new UcxDriver(context, options);
        using var endpoint = new RmaEndpoint(context, driver, options);
        RmaPeer peer = endpoint.InsertPeer(endpoint.Address.Span);
        UcxConnection connection = ConnectionTo(driver);
        UcxDueConnections due = new();
        UcxFlushes flushes = new(context, mailbox: null, maxOutstanding: 16);
        Assert.Null(connection.AddWrite(0, hasMore: true, due, flushes));
        Assert.True(due.Any);
        UcxFlush flush = connection.TakeDue(flushes)!;
        Assert.Equal([0], flush.Writes);
        connection.EndFlush();
        connection.HasFailed = true;
        endpoint.RemovePeer(peer);
        Assert.True(SpinWait.SpinUntil(() => driver.Connections == 0, TestTime.Seconds(30)), "the connection is not closed");
        Assert.Null(connection.AddWrite(1, hasMore: true, due, flushes));
        Assert.Null(connection.TakeDue(flushes));
        flushes.Free();
    }

    /// <summary>A flush that has ended at once says nothing about the write itself.</summary>
    [Fact]
    public void AWriteWhosePutHasFailedIsNotDoneByItsFlush()
    {
        UcxPostedOperation failed = default, done = default;
        Assert.False(done.HasPutSucceeded);
        done.EndPut(UcsStatus.UCS_OK);
        failed.EndPut(UcsStatus.UCS_ERR_CONNECTION_RESET);
        Assert.True(failed.HasPutEnded);
        Assert.False(failed.HasPutSucceeded);
        Assert.True(done.HasPutSucceeded);
    }

    /// <summary>A caller gives a key back while another one, inside UCX, handles the same connection.</summary>
    [Fact]
    public void KeysAreGivenBackWhileUcxIsCalledForTheirConnection()
    {
        var context = (UcxContext)new UcxProvider(UcxFabric.Options(UcxFabric.Any)) { ThreadMode = UcpMode.UCS_THREAD_MODE_SERIALIZED }.Open();
        Lock calls = context.Calls!;
        RmaEndpointOptions options = new() { Progress = RmaProgress.Caller };
        var driver = new UcxDriver(context, options);
        var endpoint = new RmaEndpoint(context, driver, options);
        var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        RmaBuffer target = pool.Rent(64);
        RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        UcxConnection connection = ConnectionTo(driver);
        unsafe
        {
            UcxFlushes flushes = new(context, mailbox: null, maxOutstanding: 16);
            var giving = new Thread(remote.Dispose) { IsBackground = true };
            var looking = new Thread(Look) { IsBackground = true };
            looking.Start();
            Assert.True(looking.Join(TestTime.Seconds(30)), "the two wait for each other");
            Assert.True(giving.Join(TestTime.Seconds(30)));
            flushes.Free();

            void Look()
            {
                lock (calls)
                {
                    giving.Start();
                    SpinWait.SpinUntil(() => giving.ThreadState.HasFlag(ThreadState.WaitSleepJoin));
                    connection.TakeDue(flushes);
                }
            }
        }
        // The rest is disposed only now: not while the threads might wait for each other.
        exposure.Dispose();
        target.Dispose();
        endpoint.Dispose();
        pool.Dispose();
        context.Dispose();
    }

    /// <summary>If calls are serialized, regions are given back and peers removed while the endpoint closes.</summary>
    [Fact]
    public async Task RegionsAreGivenBackWhileTheEndpointCloses()
    {
        const int Rounds = 10, Regions = 200;
        using IRmaContext context = new UcxProvider(UcxFabric.Options(UcxFabric.Any)) { ThreadMode = UcpMode.UCS_THREAD_MODE_SERIALIZED }.Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        using RmaBuffer target = pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        for (int round = 0; round < Rounds; round++)
        {
            IRmaEndpoint endpoint = context.OpenEndpoint();
            RmaPeer peer = endpoint.InsertPeer(endpoint.Address.Span);
            RemoteRegion[] regions = [.. Enumerable.Range(0, Regions).Select(_ => endpoint.Import(peer, exposure.Remote))];
            using var start = new Barrier(2);
            Task giving = Task.Run(() =>
            {
                start.SignalAndWait(Token);
                Array.ForEach(regions, static r => r.Dispose());
            }, Token);
            Task closing = Task.Run(async () =>
            {
                start.SignalAndWait(Token);
                endpoint.RemovePeer(peer);
                await endpoint.DisposeAsync();
            }, Token);
            await Task.WhenAll(giving, closing).WaitAsync(TestTime.Seconds(60), Token);
        }
    }

    /// <summary>
    /// UCX tells for each setting whether it is among those that it reads once; the UCX_MEM_ settings are in a separate
    /// table.
    /// </summary>
    [Theory]
    [InlineData("UCX_LOG_LEVEL")]
    [InlineData("UCX_HANDLE_ERRORS")]
    [InlineData("UCX_ERROR_SIGNALS")]
    [InlineData("UCX_MODULES")]
    [InlineData("UCX_PROFILE_MODE")]
    [InlineData("UCX_ASYNC_SIGNO")]
    [InlineData("UCX_RCACHE_CHECK_PFN")]
    [InlineData("UCX_MAX_RNDV_RAILS")]
    [InlineData("UCX_TCP_TX_SEG_SIZE")]
    [InlineData("UCX_SYSV_ERROR_HANDLING")]
    [InlineData("UCX_IB_RCACHE_MEM_PRIO")]
    [InlineData("UCX_RNDV_THRESH")]
    public unsafe void SettingsThatAreReadAtLoadingAreKnown(string name)
    {
        using IRmaContext context = UcxFabric.Open(UcxFabric.Any);
        Assert.True(UcxLibrary.IsLoaded);
        byte* value = stackalloc byte[1024];
        Assert.Equal(ucs_global_opts_get_value(name["UCX_".Length..], value, 1024) == UcsStatus.UCS_OK, UcxEnvironment.IsReadAtLoading(name));
        Assert.True(UcxEnvironment.IsReadAtLoading("UCX_MEM_EVENTS"));
    }

    [LibraryImport("libucs.so.0", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial sbyte ucs_global_opts_get_value(string name, byte* value, nuint length);

    [Fact]
    public void WhatIsMissingIsNamedWithItsPackage()
    {
        Assert.True(UcxProvider.IsSupported);
        Assert.Null(UcxProvider.NotSupportedReason);
        string missing = Assert.Throws<RmaProviderException>(() => UcxFabric.Open(UcxFabric.Any, static o => o.LibraryPath = "/no/such/libucp.so")).Message;
        Assert.Contains("apt-get install libucx0", missing, StringComparison.Ordinal);
    }

    [Fact]
    public void ARegistrationIsUndoneOnce()
    {
        using IRmaContext context = UcxFabric.Open(UcxFabric.Any);
        byte[] memory = GC.AllocateArray<byte>(4096, pinned: true);
        IRmaRegistration registration = context.Register(Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0), memory.Length, RmaAccess.RemoteRead);
        Assert.True(registration.Describe(8, 100, RmaAccess.RemoteRead).IsRaw);
        Assert.Throws<ArgumentOutOfRangeException>(() => registration.Describe(8, 4096, RmaAccess.RemoteRead));
        context.Deregister(registration);
        // Neither a new key nor the one that was packed before can be obtained.
        Assert.Throws<InvalidOperationException>(() => registration.Describe(8, 100, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentException>(() => context.Deregister(registration));
        using IRmaContext other = UcxFabric.Open(UcxFabric.Any);
        Assert.Throws<ArgumentException>(() => other.Deregister(registration));
    }

    /// <summary>Peers come and go while one endpoint lives: everything that is kept for each is released.</summary>
    [Fact]
    public async Task ManyPeersComeAndGo()
    {
        using IRmaContext context = UcxFabric.Open(UcxFabric.Any);
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        await using IRmaEndpoint endpoint = context.OpenEndpoint();
        using RmaBuffer source = pool.Rent(64);
        using RmaBuffer target = pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        for (int i = 0; i < 50; i++)
        {
            await using IRmaEndpoint other = context.OpenEndpoint();
            RmaPeer peer = endpoint.InsertPeer(other.Address.Span);
            RemoteRegion remote = endpoint.Import(peer, exposure.Remote);
            source.Span.Fill((byte)(i + 1));
            await endpoint.WriteAsync(source, remote, cancellationToken: Token);
            Assert.False(target.Span.ContainsAnyExcept((byte)(i + 1)));
            endpoint.RemovePeer(peer);
            // The region is disposed after its connection, which callers may do.
            remote.Dispose();
        }
    }

    /// <summary>Returns a driver's connection to its own endpoint.</summary>
    private static unsafe UcxConnection ConnectionTo(UcxDriver driver)
    {
        UcxRequest request = default;
        request.Info.sender_tag = UcxAddress.NumberOf(driver.Address.Span);
        return driver.FindSender(&request)!.Connection;
    }
}
