using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>What holds of MPI's endpoints beside the suite: addresses of other jobs, endpoints that are closed, messages that are taken back.</summary>
public sealed class EndpointTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(8, "it is of another MPI job")]
    [InlineData(16, "it names endpoint")]
    [InlineData(22, "it names endpoint")]
    public async Task AnAddressOfAnotherJobOrOfNoRankIsRefused(int at, string reason)
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        byte[] own = EndpointAddress.Parse(pair.Right.Endpoint.Address.Span, out _, out _).ToArray();
        own[at] ^= 0x55;
        Assert.Contains(reason, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(own)).Message, StringComparison.Ordinal);
    }

    /// <summary>A send would else end as done, since the closed endpoint's process drops the message.</summary>
    [Fact]
    public async Task ASendToAClosedEndpointFailsAndItsPeerIsLost()
    {
        await using var pair = new ConformingPair<MpiTransport>(nameof(RmaProgress.Endpoint));
        using RmaBuffer message = pair.Left.Pool.Rent(200_000);
        // One has arrived, and is not received; one comes later.
        Task before = pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token).AsTask();
        await Task.Delay(TimeSpan.FromMilliseconds(50), Token);
        await pair.Right.Endpoint.DisposeAsync();
        Assert.Equal(pair.Left.Peer, (await Assert.ThrowsAsync<RmaPeerLostException>(() => before)).Peer);
        Assert.Throws<RmaPeerLostException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(message, pair.Left.Peer)));
        // Inserted again it is lost anew.
        RmaPeer again = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        RmaPeerLostException later = await Assert.ThrowsAsync<RmaPeerLostException>(() => pair.Left.Endpoint.SendAsync(message, again, cancellationToken: Token).AsTask());
        Assert.Contains("its endpoint was closed", later.Message, StringComparison.Ordinal);
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

    /// <summary>MPI wants no overlap: what lies within attached memory shares it.</summary>
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

    /// <summary>MPI forbids it, and MPICH would not look.</summary>
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

    /// <summary>Threads attach and detach the same memory at once: MPI does so one time after another, and at the end nothing is attached.</summary>
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
        // It would overlap.
        IRmaRegistration all = context.Register(address, memory.Length, RmaAccess.RemoteWrite);
        context.Deregister(all);
    }

    /// <summary>Numbers of endpoints come again: an address that differs in its random part is of another endpoint, to which nothing was sent.</summary>
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

    /// <summary>A short write has no request, and MPI may read its bytes until the flush. Another endpoint is open, whose caller makes no progress.</summary>
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
