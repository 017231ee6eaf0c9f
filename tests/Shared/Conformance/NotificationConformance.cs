using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests on each transport writes that deliver a number to their target.</summary>
public abstract class NotificationConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int Length = 4096;
    private const int Slots = 64;

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ANumberIsNeverThereBeforeTheBytes(string mode)
    {
        const int Count = 10_000;
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer target = pair.Right.Pool.Rent(Slots * Length);
        using RmaBuffer source = pair.Left.Pool.Rent(Slots * Length);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using var room = new SemaphoreSlim(Slots);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Token);
        limit.CancelAfter(TestTime.Seconds(180));
        Task writing = Task.Run(
            async () =>
            {
                Task[] running = [.. Enumerable.Repeat(Task.CompletedTask, Slots)];
                for (int i = 0; i < Count; i++)
                {
                    int slot = i % Slots;
                    await room.WaitAsync(limit.Token);
                    await running[slot];
                    source.GetSpan(slot * Length, Length).Fill(PatternOf(i));
                    running[slot] = pair.Left.Endpoint.WriteAsync(source.Slice(slot * Length, Length), remote.Slice(slot * Length, Length), (ulong)i, cancellationToken: limit.Token).AsTask();
                }
                foreach (Task write in running)
                    await write;
            },
            Token);
        // The number of a failed write never arrives.
        _ = writing.ContinueWith(_ => limit.Cancel(), CancellationToken.None, TaskContinuationOptions.NotOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        var seen = new bool[Count];
        int left = Count;
        try
        {
            await foreach (RmaNotification notification in pair.Right.Endpoint.ReadNotificationsAsync(limit.Token))
            {
                int i = (int)notification.Value;
                Assert.False(target.GetSpan(i % Slots * Length, Length).ContainsAnyExcept(PatternOf(i)), $"number {i} came before its bytes");
                Assert.False(seen[i]);
                seen[i] = true;
                if (notification.Sender is { } sender)
                    Assert.Equal(pair.Right.Peer, sender);
                room.Release();
                if (--left == 0)
                    break;
            }
        }
        catch (OperationCanceledException) when (!Token.IsCancellationRequested)
        {
            Assert.Fail($"{left} of {Count} numbers have not come. {writing.Exception}");
        }
        await writing;
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatFindsNoRoomIsReportedAndTheRestCanBeRead(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxNotifications = 3);
        using RmaBuffer target = pair.Right.Pool.Rent(Length);
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        for (ulong i = 0; i < 5; i++)
            await pair.Left.Endpoint.WriteAsync(source, remote, i, cancellationToken: Token);
        Assert.True(SpinWait.SpinUntil(() => pair.Right.Endpoint.GetStatistics().LostNotifications == 2, TestTime.Seconds(30)));
        Assert.Equal(3, pair.Right.Endpoint.GetStatistics().UnreadNotifications);
        var room = new RmaNotification[8];
        Assert.Equal(2, Assert.Throws<RmaNotificationsLostException>(() => pair.Right.Endpoint.PollNotifications(room)).Count);
        Assert.Equal(3, pair.Right.Endpoint.PollNotifications(room));
        Assert.Equal([0UL, 1, 2], room[..3].Select(n => n.Value));
        Assert.Equal(0, pair.Right.Endpoint.PollNotifications(room));
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AReaderEndsWithItsEndpointAndWhenItIsCancelled(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using var cancel = new CancellationTokenSource();
        Task<int> cancelled = ReadAsync(pair.Right.Endpoint, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Task<int> closed = ReadAsync(pair.Right.Endpoint, Token);
        await pair.Right.Endpoint.DisposeAsync();
        Assert.Equal(0, await closed);

        static async Task<int> ReadAsync(IRmaEndpoint endpoint, CancellationToken token) =>
            await endpoint.ReadNotificationsAsync(token).CountAsync(token);
    }

    private static byte PatternOf(int i) => (byte)(1 + (i % 255));
}
