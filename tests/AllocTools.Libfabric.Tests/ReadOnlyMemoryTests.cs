using System.Runtime.InteropServices;
using AllocTools.Blocks;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests the caller's memory that may only be read: a write to it would end this process, or let a peer end it.
/// </summary>
public sealed partial class ReadOnlyMemoryTests
{
    private const int Length = 1 << 20;

    public static TheoryData<string> Fabrics => EndpointTests.Fabrics;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatWritesToItIsRefusedAndWhatReadsItIsServed(string fabric)
    {
        var pages = new PageAllocator();
        nint memory = pages.Allocate(Length, populate: false);
        Fill(memory);
        Assert.Equal(0, mprotect(memory, Length, protection: 1));
        await using (var pair = new EndpointPair(fabric))
        {
            using RmaBuffer readOnly = pair.Left.Pool.Register(memory, Length);
            using RmaBuffer other = pair.Right.Pool.Rent(Length);
            other.Span.Clear();
            using RmaExposure exposure = other.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);

            await AssertRefusedAsync(() => pair.Left.Endpoint.ReadAsync(readOnly, remote, cancellationToken: Token).AsTask());
            await AssertRefusedAsync(() => pair.Left.Endpoint.ReceiveAsync(readOnly, cancellationToken: Token).AsTask());
            AssertRefused(() => pair.Left.Endpoint.TryPost(RmaOperation.Read(readOnly, remote)));
            AssertRefused(() => pair.Left.Endpoint.TryPost(RmaOperation.Receive(readOnly)));
            Assert.Equal("EACCES", Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteWrite)).ErrorName);

            await pair.Left.Endpoint.WriteAsync(readOnly, remote, cancellationToken: Token);
            Assert.False(other.Span.ContainsAnyExcept((byte)7));
            other.Span.Clear();
            using RmaExposure exposed = readOnly.Expose(RmaAccess.RemoteRead);
            using RemoteRegion source = pair.Right.Endpoint.Import(pair.Right.Peer, exposed.Remote);
            await pair.Right.Endpoint.ReadAsync(other, source, cancellationToken: Token);
            Assert.False(other.Span.ContainsAnyExcept((byte)7));
            other.Span.Clear();
            ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(other.Slice(0, 4096), cancellationToken: Token);
            await pair.Left.Endpoint.SendAsync(readOnly.Slice(0, 4096), pair.Left.Peer, cancellationToken: Token);
            Assert.Equal(4096, (await receiving).Length);
            Assert.False(other.Span[..4096].ContainsAnyExcept((byte)7));
        }
        pages.Free(memory, Length);
    }

    private static unsafe void Fill(nint memory) => NativeMemory.Fill((void*)memory, Length, 7);

    private static void AssertRefused(Action start) => Assert.Equal("EACCES", Assert.Throws<RmaOperationException>(start).ErrorName);

    private static async Task AssertRefusedAsync(Func<Task> start) => Assert.Equal("EACCES", (await Assert.ThrowsAsync<RmaOperationException>(start)).ErrorName);

    [LibraryImport("libc")]
    private static partial int mprotect(nint address, nuint length, int protection);
}
