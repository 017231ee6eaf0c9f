using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each transport more operations than may be outstanding, and operations that are posted without a task.
/// </summary>
public abstract class WindowConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task PostedOperationsCompleteByPolling(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, pollsItself: true);
        const int Count = 100;
        using RmaBuffer target = pair.Right.Pool.Rent(Count * 64);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Fill(8);
        using RmaBuffer message = pair.Right.Pool.Rent(64);
        var completions = new RmaCompletion[7];
        Assert.True(pair.Right.Endpoint.TryPost(RmaOperation.Receive(message, context: 4711)));
        Run(RmaOperationKind.Write, i => RmaOperation.Write(source, remote.Slice(i * 64, 64), (ulong)i));
        if (pair.Traits.DeliveryComplete)
            Assert.False(target.Span.ContainsAnyExcept((byte)8));
        source.Span.Clear();
        Run(RmaOperationKind.Read, i => RmaOperation.Read(source, remote.Slice(i * 64, 64), (ulong)i));
        Assert.False(source.Span.ContainsAnyExcept((byte)8));

        Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Send(source, pair.Left.Peer, context: 12)));
        int sent = 0;
        int received = 0;
        while (sent == 0 || received == 0)
        {
            sent += pair.Left.Endpoint.Poll(completions.AsSpan(sent, 1 - sent));
            received += pair.Right.Endpoint.Poll(completions.AsSpan(3 + received, 1 - received));
        }
        Assert.Equal(new RmaCompletion(12, RmaOperationKind.Send, 64, 0), completions[0]);
        Assert.Equal(new RmaCompletion(4711, RmaOperationKind.Receive, 64, 0), completions[3] with { Sender = null });
        Assert.Contains(
            "Write: 100 done, 6,400 bytes, 0 failed; Read: 100 done, 6,400 bytes, 0 failed; Send: 1 done, 64 bytes, 0 failed; Receive: 0 done, 0 bytes, 0 failed",
            pair.Left.Endpoint.GetStatistics().ToString(),
            StringComparison.Ordinal);

        void Run(RmaOperationKind kind, Func<int, RmaOperation> operation)
        {
            HashSet<ulong> seen = [];
            for (int posted = 0; seen.Count < Count;)
            {
                if (posted < Count && pair.Left.Endpoint.TryPost(operation(posted)))
                    posted++;
                int taken = pair.Left.Endpoint.Poll(completions);
                for (int i = 0; i < taken; i++)
                {
                    Assert.True(completions[i].IsSuccess);
                    Assert.Equal(kind, completions[i].Kind);
                    Assert.Equal(64, completions[i].Length);
                    Assert.True(seen.Add(completions[i].Context), "completed twice");
                }
                Assert.Equal(0, pair.Right.Endpoint.Poll(completions));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task PostingSaysNoWhereTheWindowIsFullUntilCompletionsAreTaken(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 4);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        for (int i = 0; i < 4; i++)
            Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Receive(buffer, (ulong)i)));
        Assert.False(pair.Left.Endpoint.TryPost(RmaOperation.Receive(buffer)));
        using RmaBuffer message = pair.Right.Pool.Rent(64);
        await pair.Right.Endpoint.SendAsync(message, pair.Right.Peer, cancellationToken: Token);
        var completions = new RmaCompletion[4];
        while (pair.Left.Endpoint.Poll(completions) == 0)
            await Task.Yield();
        Assert.Equal(0UL, completions[0].Context);
        Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Receive(buffer)));
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task MessagesKeepTheirOrderWhereSlotsRunOut(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 4);
        const int Count = 500;
        RmaBuffer[] sent = [.. Enumerable.Range(0, Count).Select(_ => pair.Left.Pool.Rent(64))];
        RmaBuffer[] received = [.. Enumerable.Range(0, Count).Select(_ => pair.Right.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receives = [.. received.Select(b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask())];
        // Waiting operations hold their buffers, too, and nothing is posted ahead of them.
        Assert.Throws<InvalidOperationException>(received[^1].Return);
        Assert.False(pair.Right.Endpoint.TryPost(RmaOperation.Receive(received[0])));
        Task[] sends = [.. sent.Select((b, i) =>
        {
            BitConverter.TryWriteBytes(b.Span, i);
            return pair.Left.Endpoint.SendAsync(b, pair.Left.Peer, cancellationToken: Token).AsTask();
        })];
        await Task.WhenAll(sends);
        await Task.WhenAll(receives);
        for (int i = 0; i < Count; i++)
        {
            Assert.Equal(i, BitConverter.ToInt32(received[i].Span));
            sent[i].Dispose();
            received[i].Dispose();
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatWaitsForItsTurnTimesOutAndIsCancelledAndLeavesItsBufferFree(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 1);
        using RmaBuffer first = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(first, cancellationToken: Token).AsTask();
        RmaBuffer buffer = pair.Right.Pool.Rent(64);
        RmaTimeoutException late = await Assert.ThrowsAsync<RmaTimeoutException>(() => pair.Right.Endpoint.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(20), Token).AsTask());
        Assert.Contains("MaxOutstanding", late.Message, StringComparison.Ordinal);
        using var cancel = new CancellationTokenSource();
        Task<RmaReceiveResult> cancelled = pair.Right.Endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        await cancel.CancelAsync();
        Assert.Equal(cancel.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled)).CancellationToken);
        // The buffer is no longer held: otherwise this would throw.
        buffer.Return();
        using RmaBuffer message = pair.Left.Pool.Rent(7);
        await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(7, (await receiving).Length);
    }
}
