using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>
/// Tests the cost of notifications on page-locked memory, and what happens to unread ones; the suite covers the rest.
/// </summary>
public sealed class HostNotificationTests
{
    [Fact]
    public async Task WhatATargetDoesNotReadIsPushedBackToItsWriters()
    {
        await using var pair = Open();
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        int written = 0;
        var completions = new RmaCompletion[1];
        while (pair.Left.Endpoint.TryPost(RmaOperation.WriteAndNotify(source, remote, (ulong)written)))
        {
            Assert.Equal(1, pair.Left.Endpoint.Poll(completions));
            Assert.InRange(++written, 1, HostDriver.MostNotifications);
        }
        Assert.Equal(HostDriver.MostNotifications, written);
        // A write without a number is not blocked.
        Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Write(source, remote)));
        Task waiting = pair.Left.Endpoint.WriteAsync(source, remote, (ulong)written, cancellationToken: TestContext.Current.CancellationToken).AsTask();
        Assert.False(waiting.IsCompleted);
        var read = new RmaNotification[64];
        for (int i = 0; i < written;)
        {
            int taken = pair.Right.Endpoint.PollNotifications(read);
            for (int j = 0; j < taken; j++)
                Assert.Equal((ulong)i++, read[j].Value);
        }
        while (!waiting.IsCompleted)
            pair.Left.Endpoint.Poll(completions);
        await waiting;
        Assert.Equal(1, pair.Right.Endpoint.PollNotifications(read));
        Assert.Equal((ulong)written, read[0].Value);
    }

    [Fact]
    public async Task NotificationsAllocateNothingInSteadyState()
    {
        await using var pair = Open();
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        var completions = new RmaCompletion[1];
        var read = new RmaNotification[64];
        Write(10_000);
        var allocations = new ThreadAllocations();
        for (int i = 0; i < 100; i++)
        {
            allocations.Begin();
            Write(100);
            allocations.End();
        }
        allocations.AssertNone();

        void Write(int count)
        {
            int left = count;
            for (int i = 0; i < count; i++)
            {
                Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.WriteAndNotify(source, remote, (ulong)i)));
                pair.Left.Endpoint.Poll(completions);
                // Read in bursts, so that some notifications wait.
                if (i % 50 == 49)
                    left -= pair.Right.Endpoint.PollNotifications(read);
            }
            while (left > 0)
                left -= pair.Right.Endpoint.PollNotifications(read);
        }
    }

    private static ConformingPair<HostTransport> Open() => new(nameof(RmaProgress.Caller), pollsItself: true);
}
