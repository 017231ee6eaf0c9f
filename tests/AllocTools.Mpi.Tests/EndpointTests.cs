using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Drivers;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>
/// Tests MPI's endpoints beyond the suite: addresses of other jobs, closed endpoints, and messages that are taken back.
/// </summary>
public sealed class EndpointTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(8, "it is of another MPI job")]
    [InlineData(16, "it names rank")]
    [InlineData(22, "it names endpoint")]
    public async Task AnAddressOfAnotherJobOrOfNoRankIsRefused(int at, string reason)
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        byte[] own = EndpointAddress.Parse(pair.Right.Endpoint.Address.Span, out _, out _).ToArray();
        own[at] ^= 0x55;
        Assert.Contains(reason, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(own)).Message, StringComparison.Ordinal);
    }

    /// <summary>Otherwise a send would count as done, since the closed endpoint's process drops the message.</summary>
    [Fact]
    public async Task ASendToAClosedEndpointFailsAndItsPeerIsLost()
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        using RmaBuffer message = pair.Left.Pool.Rent(200_000);
        // One message has arrived, and is not received; another one arrives later.
        Task before = pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token).AsTask();
        await Task.Delay(TimeSpan.FromMilliseconds(50), Token);
        await pair.Right.Endpoint.DisposeAsync();
        Assert.Equal(pair.Left.Peer, (await Assert.ThrowsAsync<RmaPeerLostException>(() => before)).Peer);
        Assert.Throws<RmaPeerLostException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(message, pair.Left.Peer)));
        // After it is inserted again, it is lost again.
        RmaPeer again = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        RmaPeerLostException later = await Assert.ThrowsAsync<RmaPeerLostException>(() => pair.Left.Endpoint.SendAsync(message, again, cancellationToken: Token).AsTask());
        Assert.Contains("its endpoint was closed", later.Message, StringComparison.Ordinal);
    }

    /// <summary>The message is dropped afterwards, and would count as sent.</summary>
    [Fact]
    public async Task ASendToAClosedEndpointFailsThoughItsPeerIsInsertedAgainAtOnce()
    {
        for (int i = 0; i < 20; i++)
        {
            await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
            IRmaEndpoint left = pair.Left.Endpoint;
            ReadOnlyMemory<byte> address = pair.Right.Endpoint.Address;
            RmaBuffer message = pair.Left.Pool.Rent(200_000);
            await using IAsyncEnumerator<RmaPeerChange> lost = left.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);
            Task inserting = InsertOnceLostAsync(lost.MoveNextAsync());
            Task sending = left.SendAsync(message, pair.Left.Peer, cancellationToken: Token).AsTask();
            await pair.Right.Endpoint.DisposeAsync();
            // It fails as a send to a lost peer does, or with the error code if the peer is inserted again.
            await Assert.ThrowsAnyAsync<RmaOperationException>(() => sending);
            await inserting.WaitAsync(TestTime.Seconds(30), Token);
            message.Dispose();
            pair.Left.AssertAllComeBack();

            async Task InsertOnceLostAsync(ValueTask<bool> next)
            {
                Assert.True(await next);
                left.InsertPeer(address.Span);
            }
        }
    }

    /// <summary>
    /// Numbers of endpoints are reused. A message for an earlier endpoint with a number must not reach the current one.
    /// </summary>
    [Fact]
    public async Task AMessageForAnEarlierEndpointOfTheSameNumberIsNotReceived()
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        byte[] earlier = EndpointAddress.Parse(pair.Right.Endpoint.Address.Span, out _, out _).ToArray();
        earlier[^1] ^= 0x55;
        using RmaBuffer message = pair.Left.Pool.Rent(100);
        message.Span.Fill(1);
        using RmaBuffer received = pair.Right.Pool.Rent(100);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        RmaPeer peer = pair.Left.Endpoint.InsertPeer(earlier);
        await Assert.ThrowsAsync<RmaPeerLostException>(() => pair.Left.Endpoint.SendAsync(message, peer, cancellationToken: Token).AsTask());
        message.Span.Fill(2);
        RmaPeer right = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        await pair.Left.Endpoint.SendAsync(message, right, cancellationToken: Token);
        await receiving;
        Assert.Equal(2, received.Span[0]);
    }

    [Fact]
    public void NothingIsAllocatedForAWriteAReadOrAMessage()
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Caller), static _ => { });
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite | RmaAccess.RemoteRead, DrainTimeout = TimeSpan.Zero });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        using RmaBuffer source = pool.Rent(32 << 10);
        using RmaBuffer target = pool.Rent(32 << 10);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        using RemoteRegion start = endpoint.Import(self, target.Expose(0, 64, RmaAccess.RemoteWrite).Remote);
        RmaOperation[] operations =
        [
            RmaOperation.Write(source, remote), RmaOperation.Write(source.Slice(0, 64), start), RmaOperation.Read(source, remote),
            RmaOperation.WriteAndNotify(source, remote, 7), RmaOperation.Receive(target), RmaOperation.Send(source, self),
        ];
        var completions = new RmaCompletion[16];
        var notifications = new RmaNotification[16];
        for (int i = 0; i < 200; i++)
            RunAll();
        var allocations = new ThreadAllocations();
        for (int i = 0; i < 200; i++)
        {
            allocations.Begin();
            RunAll();
            allocations.End();
        }
        allocations.AssertNone();

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
                endpoint.Poll([]);
        }
    }

    [Fact]
    public void ARegistrationIsUndoneOnceByItsContext()
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        using IRmaContext other = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        byte[] memory = GC.AllocateUninitializedArray<byte>(4096, pinned: true);
        nint address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        IRmaRegistration first = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        IRmaRegistration second = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        Assert.Throws<ArgumentException>(() => other.Deregister(first));
        context.Deregister(first);
        // It would take the memory from the second registration.
        Assert.Throws<ArgumentException>(() => context.Deregister(first));
        Assert.Throws<ObjectDisposedException>(() => first.Describe(0, 1, RmaAccess.RemoteWrite));
        Assert.Equal((ulong)address, second.Describe(0, 1, RmaAccess.RemoteWrite).Address);
        context.Deregister(second);
    }

    /// <summary>MPI can't take a send back; the target drops the message.</summary>
    [Theory]
    [InlineData(100)]
    [InlineData(500_000)]
    public async Task AMessageThatTimedOutIsNotReceivedAndItsBufferComesBack(int length)
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        RmaBuffer first = pair.Left.Pool.Rent(length);
        first.Span.Fill(1);
        await Assert.ThrowsAsync<RmaTimeoutException>(() => pair.Left.Endpoint.SendAsync(first, pair.Left.Peer, TimeSpan.FromMilliseconds(100), Token).AsTask());
        first.Dispose();
        pair.Left.AssertAllComeBack();
        using RmaBuffer second = pair.Left.Pool.Rent(length);
        second.Span.Fill(2);
        using RmaBuffer received = pair.Right.Pool.Rent(length);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(second, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(length, (await receiving).Length);
        Assert.False(received.GetSpan(0, length).ContainsAnyExcept((byte)2));
    }

    /// <summary>MPI allows no overlap: a range within attached memory shares its attachment.</summary>
    [Fact]
    public void MemoryWithinAttachedMemoryIsAttachedOnce()
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        byte[] memory = GC.AllocateUninitializedArray<byte>(100_000, pinned: true);
        nint address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        IRmaRegistration whole = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        IRmaRegistration part = context.Register(address + 1000, 500, RmaAccess.RemoteWrite);
        Assert.Equal(whole.Describe(1010, 10, RmaAccess.RemoteWrite).Address, part.Describe(10, 10, RmaAccess.RemoteWrite).Address);
        context.Deregister(whole);
        context.Deregister(part);
        IRmaRegistration again = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        context.Deregister(again);
        Assert.Throws<ArgumentException>(() => context.Deregister(new OtherRegistration()));
    }

    /// <summary>MPI forbids it, and MPICH would not check.</summary>
    [Theory]
    [InlineData(-500, 1000)]
    [InlineData(500, 1000)]
    [InlineData(-500, 3000)]
    public void MemoryOfWhichAPartIsAttachedIsRefused(int offset, int length)
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        byte[] memory = GC.AllocateUninitializedArray<byte>(10_000, pinned: true);
        nint address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 4000);
        IRmaRegistration attached = context.Register(address, 1000, RmaAccess.RemoteWrite);
        RmaRegistrationException refused = Assert.Throws<RmaRegistrationException>(() => context.Register(address + offset, length, RmaAccess.RemoteWrite));
        Assert.Contains("1,000 bytes", refused.Message, StringComparison.Ordinal);
        context.Deregister(attached);
        IRmaRegistration later = context.Register(address + offset, length, RmaAccess.RemoteWrite);
        context.Deregister(later);
    }

    /// <summary>
    /// Threads attach and detach the same memory at once: MPI does so one time after another, and in the end nothing is
    /// attached.
    /// </summary>
    [Fact]
    public async Task ThreadsShareWhatIsAttached()
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        byte[] memory = GC.AllocateUninitializedArray<byte>(100_000, pinned: true);
        nint address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 500; i++)
            {
                IRmaRegistration whole = context.Register(address, 10_000, RmaAccess.RemoteWrite);
                IRmaRegistration part = context.Register(address + 100, 200, RmaAccess.RemoteWrite);
                Assert.Equal((ulong)address + 100, part.Describe(0, 200, RmaAccess.RemoteWrite).Address);
                context.Deregister(whole);
                context.Deregister(part);
            }
        }, Token)));
        // This would overlap if something were still attached.
        IRmaRegistration all = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        context.Deregister(all);
    }

    /// <summary>
    /// Numbers of endpoints are reused: an address that differs in its random part belongs to another endpoint, to
    /// which nothing was sent.
    /// </summary>
    [Fact]
    public void AnotherEndpointOfTheSameNumberIsCountedAnew()
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        var job = MpiJob.Open(new MpiOptions(), NullLogger.Instance);
        var driver = new MpiDriver(job, context.Traits, maxOutstanding: 4);
        byte[] address = driver.Address.ToArray();
        MpiFlow first = ((MpiPeer)driver.OpenPeer(address)).Flow;
        Assert.Same(first, ((MpiPeer)driver.OpenPeer(address)).Flow);
        address[^1] ^= 1;
        Assert.NotSame(first, ((MpiPeer)driver.OpenPeer(address)).Flow);
        Assert.True(driver.Close(isRecalled: true));
        job.Close();
    }

    /// <summary>
    /// A short write has no request, and MPI may read its bytes until the flush. Another endpoint is open, whose caller
    /// makes no progress.
    /// </summary>
    [Theory]
    [InlineData(64)]
    [InlineData(100_000)]
    public async Task ADriverThatIsClosedUnderAWriteIsDoneOnceItIsFlushed(int length)
    {
        using IRmaContext context = MpiTransport.Open(nameof(RmaProgress.Endpoint), static _ => { });
        var job = MpiJob.Open(new MpiOptions(), NullLogger.Instance);
        byte[] memory = GC.AllocateUninitializedArray<byte>(2 * length, pinned: true);
        memory.AsSpan(0, length).Fill(7);
        nint address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        IRmaRegistration registration = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        var driver = new MpiDriver(job, context.Traits, maxOutstanding: 4);
        var idle = new MpiDriver(job, context.Traits, maxOutstanding: 4);
        RmaDriverPeer peer = driver.OpenPeer(driver.Address.Span);
        driver.OnPeerInserted(peer);
        Assert.Equal(RmaPostResult.Posted, driver.Post(new WriteOperation(address, length, peer, registration.Describe(length, length, RmaAccess.RemoteWrite).Address)));
        Assert.False(driver.Close(isRecalled: false));
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        driver.WhenDone(done.SetResult);
        await done.Task.WaitAsync(TestTime.Seconds(30), Token);
        Assert.False(memory.AsSpan(length).ContainsAnyExcept((byte)7));
        Assert.True(idle.Close(isRecalled: true));
        context.Deregister(registration);
        job.Close();
    }

    private sealed class WriteOperation : RmaDriverOperation
    {
        public WriteOperation(nint address, long length, RmaDriverPeer peer, ulong remoteAddress)
            : base(0)
        {
            (Kind, Address, Length, Peer, RemoteAddress) = (RmaOperationKind.Write, address, length, peer, remoteAddress);
        }

        public override long Use => 1;
    }

    private sealed class OtherRegistration : IRmaRegistration
    {
        public RemoteMemory Describe(long offset, long length, RmaAccess access) => throw new NotSupportedException();
    }
}
