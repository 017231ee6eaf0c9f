using System.Runtime.InteropServices;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Ucx.Interop;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>What only UCX's driver does.</summary>
public sealed partial class DriverTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task ABatchIsFlushedOnceAndNotForEachWrite(RmaProgress progress)
    {
        const int Count = 256, Runs = 10;
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
        long before = driver.StartedFlushes;
        for (int run = 0; run < Runs; run++)
        {
            source.Span.Fill((byte)(run + 1));
            await AwaitAsync(batch.RunAsync(cancellationToken: Token).AsTask());
            Assert.False(target.Span.ContainsAnyExcept((byte)(run + 1)));
        }
        // FI_MORE reaches over some dozens of writes; each of those groups has a flush.
        Assert.InRange(driver.StartedFlushes - before, Runs, Runs * Count / 8);

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

    /// <summary>UCX has freed it by then.</summary>
    [Fact]
    public unsafe void AConnectionThatIsClosedIsFlushedNoMore()
    {
        using var context = (UcxContext)UcxFabric.Open(UcxFabric.Any);
        RmaEndpointOptions options = new();
        var driver = new UcxDriver(context, options);
        using var endpoint = new RmaEndpoint(context, driver, options);
        RmaPeer peer = endpoint.InsertPeer(endpoint.Address.Span);
        UcxRequest request = default;
        request.Info.sender_tag = UcxAddress.NumberOf(driver.Address.Span);
        UcxConnection connection = driver.FindSender(&request)!.Connection;
        UcxDueConnections due = new();
        UcxFlushes flushes = new(context, mailbox: null, maxOutstanding: 16);
        Assert.Null(connection.AddWrite(0, hasMore: true, due, flushes));
        Assert.True(due.Any);
        UcxFlush flush = connection.TakeDue(flushes)!;
        Assert.Equal([0], flush.Writes);
        connection.EndFlush();
        Assert.Null(connection.AddWrite(1, hasMore: true, due, flushes));
        endpoint.RemovePeer(peer);
        Assert.Null(connection.TakeDue(flushes));
        flushes.Free();
    }

    /// <summary>A flush that has ended at once says nothing of the write itself.</summary>
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

    [Fact]
    public void NothingIsAllocatedForAWriteAReadOrAMessage()
    {
        using IRmaContext context = UcxFabric.Open(UcxFabric.Any, o => o.Endpoint.Progress = RmaProgress.Caller);
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite | RmaAccess.RemoteRead, DrainTimeout = TimeSpan.Zero });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        using RmaBuffer source = pool.Rent(4096);
        using RmaBuffer target = pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        RmaOperation[] operations = [RmaOperation.Write(source, remote), RmaOperation.Read(source, remote), RmaOperation.WriteAndNotify(source, remote, 7), RmaOperation.Receive(target), RmaOperation.Send(source, self)];
        var completions = new RmaCompletion[16];
        var notifications = new RmaNotification[16];
        for (int i = 0; i < 200; i++)
            RunAll();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 200; i++)
            RunAll();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void RunAll()
        {
            foreach (RmaOperation operation in operations)
            {
                while (!endpoint.TryPost(operation))
                    endpoint.Poll([]);
            }
            for (int left = operations.Length; left > 0;)
                left -= endpoint.Poll(completions);
            while (endpoint.PollNotifications(notifications) == 0)
            {
            }
        }
    }

    [Fact]
    public void TransportsAreFoundInWhatUcxPrints()
    {
        const string Printed = """
            #
            # UCP context
            #
            #     component 1  :  tcp
            #            md 0  :  component 1  tcp
            #
            #      resource 0  :  md 0  dev 0  flags -- tcp/lo
            #      resource 1  :  md 2  dev 1  flags -a rc_verbs/mlx5_0:1
            #
            """;
        Assert.Equal(["tcp/lo", "rc_verbs/mlx5_0:1"], UcxTransports.Parse(Printed));
        Assert.True(UcxTransports.LockPages(UcxTransports.Parse(Printed)));
        Assert.False(UcxTransports.LockPages(["tcp/lo", "posix/memory"]));
        Assert.Empty(UcxTransports.Parse("in another form"));
    }

    [Theory]
    [InlineData(null, "")]
    [InlineData("all", "")]
    [InlineData("^shm", "")]
    [InlineData("tcp, \\sysv", "SYSV")]
    [InlineData("posix", "POSIX")]
    [InlineData("self,shm,posix", "SYSV POSIX")]
    public void SharedMemoryIsAskedForByName(string? list, string expected) => Assert.Equal(expected, string.Join(' ', UcxTransports.SharedMemoryIn(list)));

    [Theory]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.None, null, true)]
    [InlineData("xpmem/memory", UcxErrorHandling.None, null, true)]
    [InlineData("tcp/lo,sysv/memory,posix/memory", UcxErrorHandling.None, null, false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, null, false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=n", false)]
    [InlineData("tcp/lo,cma/memory", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=y", true)]
    [InlineData("tcp/lo,xpmem/memory", UcxErrorHandling.Peer, "UCX_MM_ERROR_HANDLING=y", true)]
    [InlineData("tcp/lo", UcxErrorHandling.Peer, "UCX_CMA_MEMORY_INVALIDATE=y", false)]
    [InlineData("", UcxErrorHandling.None, null, true)]
    public void PeersCopyByThemselvesWhereTheKernelDoesItForThem(string transports, UcxErrorHandling errorHandling, string? variable, bool expected) => Assert.Equal(
        expected,
        UcxTransports.LetPeersCopy(
            transports.Split(',', StringSplitOptions.RemoveEmptyEntries), errorHandling, name => variable?.Split('=') is [var set, var value] && set == name ? value : null));

    /// <summary>UCX says of each setting whether it is of those that it reads once; those of UCX_MEM_ are in a table of their own.</summary>
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
        Assert.True(UcxProvider.IsSupported);
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
        // A library that is there, and is another one.
        string other = Assert.Throws<RmaProviderException>(() => UcxFabric.Open(UcxFabric.Any, static o => o.LibraryPath = "libc.so.6")).Message;
        Assert.Contains("it has no function ucp_", other, StringComparison.Ordinal);
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
        Assert.Throws<ArgumentException>(() => context.Deregister(registration));
        using IRmaContext other = UcxFabric.Open(UcxFabric.Any);
        Assert.Throws<ArgumentException>(() => other.Deregister(registration));
    }

    /// <summary>Peers come and go while one endpoint lives: what is kept of each is given back.</summary>
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
            // After its connection, as a caller may.
            remote.Dispose();
        }
    }
}
