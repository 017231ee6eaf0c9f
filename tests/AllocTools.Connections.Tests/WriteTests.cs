using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests writes that are longer than what may be under way, and how they end.</summary>
public sealed class WriteTests
{
    private static readonly byte[] Sent = RandomNumberGenerator.GetBytes(4_000_000);

    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ALongWriteHasAPartOfItInMemoryAtATime(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, static o => o.PauseWriterBytes = 128 << 10);
        ValueTask<FlushResult> writing = pair.Left.Output.WriteAsync(Sent, TestContext.Current.CancellationToken);
        byte[] first = await pair.Right.Input.ReadSomeAsync();
        Assert.False(writing.IsCompleted);
        Assert.True(pair.LeftSide.Pool.GetStatistics().RentedBytes < 1_000_000);
        byte[] rest = await pair.Right.Input.ReadBytesAsync(Sent.Length - first.Length);
        Assert.Equal(Sent, first.Concat(rest));
        Assert.False((await writing).IsCompleted);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AWriteThatIsCancelledHasWrittenAll(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        using var cancellation = new CancellationTokenSource();
        ValueTask<FlushResult> writing = pair.Left.Output.WriteAsync(Sent, cancellation.Token);
        Assert.False(writing.IsCompleted);
        await cancellation.CancelAsync();
        await Assert.ThrowsAsync<OperationCanceledException>(() => writing.AsTask());
        await pair.Left.Output.CompleteAsync();
        Assert.Equal(Sent, await pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AWriteWhoseFlushIsCancelledHasWrittenAll(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        ValueTask<FlushResult> writing = pair.Left.Output.WriteAsync(Sent, TestContext.Current.CancellationToken);
        Assert.False(writing.IsCompleted);
        pair.Left.Output.CancelPendingFlush();
        Assert.True((await writing).IsCanceled);
        await pair.Left.Output.CompleteAsync();
        Assert.Equal(Sent, await pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AWriteThatFailsHalfWayEndsTheConnection(string fabric)
    {
        HeldPool? held = null;
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, wrapLeft: p => held = new HeldPool(p));
        using var cancellation = new CancellationTokenSource();
        ValueTask<FlushResult> writing = pair.Left.Output.WriteAsync(Sent, cancellation.Token);
        held!.OnRent = static () => throw new RmaConnectionException("there is no memory");
        // The rest is copied at once, for which there is no memory.
        await cancellation.CancelAsync();
        await Assert.ThrowsAsync<RmaConnectionException>(() => writing.AsTask());
        await Assert.ThrowsAsync<ConnectionResetException>(() => pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task WhileMemoryIsWaitedForAllElseGoesOnAndTheConnectionCanEnd(string fabric)
    {
        HeldPool? held = null;
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, wrapLeft: p => held = new HeldPool(p));
        (RmaConnection otherLeft, RmaConnection otherRight) = await pair.ConnectAsync();
        using var waits = new SemaphoreSlim(0);
        using var goesOn = new SemaphoreSlim(0);
        await otherLeft.Output.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        held!.OnRent = () =>
        {
            waits.Release();
            goesOn.Wait();
        };
        Task<FlushResult> writing = Task.Run(async () => await pair.Left.Output.WriteAsync(Sent));
        Assert.True(await waits.WaitAsync(TestTime.Seconds(20), TestContext.Current.CancellationToken));
        held.OnRent = static () => { };
        // The thread that makes progress finds bytes and credit for the waiting connection, and serves the other one.
        await pair.Right.Output.WriteAsync(Sent.AsMemory(0, 10_000), TestContext.Current.CancellationToken);
        Assert.Equal(Sent.Take(10_000), await pair.Left.Input.ReadBytesAsync(10_000));
        await otherRight.Output.WriteAsync(Sent.AsMemory(0, 10_000), TestContext.Current.CancellationToken);
        Assert.Equal(Sent.Take(10_000), await otherLeft.Input.ReadBytesAsync(10_000));
        Task ending = pair.Left.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ConnectionResetException>(() => pair.Right.Input.ReadToEndAsync());
        goesOn.Release();
        Assert.True((await writing).IsCompleted);
        await ending;
        await otherLeft.DisposeAsync();
        await otherRight.DisposeAsync();
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ConnectionsMayEndAtAnyTimeUnderTheirWrites(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        var random = new Random(11);
        for (int round = 0; round < 60; round++)
        {
            (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
            int length = random.Next(1, 500_000), wait = random.Next(0, 3000);
            Task reading = Task.Run(async () =>
            {
                try
                {
                    await right.AsStream().CopyToAsync(Stream.Null);
                }
                catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
                {
                    // Either side may have ended.
                }
            }, TestContext.Current.CancellationToken);
            Task writing = Task.Run(async () =>
            {
                try
                {
                    while (!(await left.Output.WriteAsync(Sent.AsMemory(0, length))).IsCompleted)
                    {
                    }
                }
                catch (InvalidOperationException)
                {
                    // The write came after the end.
                }
            }, TestContext.Current.CancellationToken);
            Thread.SpinWait(wait);
            await (round % 2 == 0 ? left : right).DisposeAsync();
            await writing.WaitAsync(TestTime.Seconds(20), TestContext.Current.CancellationToken);
            await left.DisposeAsync();
            await right.DisposeAsync();
            await reading.WaitAsync(TestTime.Seconds(20), TestContext.Current.CancellationToken);
        }
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task WhatAReaderLeavesIsMergedWhereItIsCopied(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, static o => (o.InitialRingBytes, o.MaxRingBytes) = (1024, 1024));
        Task writing = Task.Run(async () => await pair.Left.Output.WriteAsync(Sent), TestContext.Current.CancellationToken);
        ReadResult result = await pair.Right.Input.ReadAtLeastAsync(Sent.Length, TestContext.Current.CancellationToken);
        int segments = 0;
        foreach (ReadOnlyMemory<byte> _ in result.Buffer)
            segments++;
        // Frames have at most 208 bytes.
        Assert.InRange(segments, 1, 30);
        Assert.Equal(Sent, result.Buffer.ToArray());
        // A part of the copied bytes can be consumed.
        pair.Right.Input.AdvanceTo(result.Buffer.GetPosition(1_234_567), result.Buffer.End);
        await writing;
        await pair.Left.Output.WriteAsync(Sent.AsMemory(0, 500), TestContext.Current.CancellationToken);
        Assert.Equal(Sent.Skip(1_234_567).Concat(Sent.Take(500)), await pair.Right.Input.ReadBytesAsync(Sent.Length - 1_234_567 + 500));
        await pair.EndCleanlyAsync();
    }
}
