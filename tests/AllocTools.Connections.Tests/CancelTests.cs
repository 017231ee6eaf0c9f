using System.IO.Pipelines;
using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;

namespace AllocTools.Connections.Tests;

/// <summary>Tests that cancelled reads and flushes lose nothing.</summary>
public sealed class CancelTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACancelledReadLosesNothing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] sent = RandomNumberGenerator.GetBytes(2_000);
        var received = new MemoryStream();
        for (int i = 0; i < sent.Length; i += 10)
        {
            using var cancel = new CancellationTokenSource();
            Task<ReadResult> reading = pair.Right.Input.ReadAsync(cancel.Token).AsTask();
            Task cancelling = Task.Run(cancel.Cancel, CancellationToken.None);
            await pair.Left.Output.WriteAsync(sent.AsMemory(i, 10), TestContext.Current.CancellationToken);
            await cancelling;
            try
            {
                Take((await reading).Buffer);
            }
            catch (OperationCanceledException e)
            {
                Assert.Equal(cancel.Token, e.CancellationToken);
            }
            if (i % 100 == 0)
            {
                pair.Right.Input.CancelPendingRead();
                ReadResult cancelled = await pair.Right.Input.ReadAsync(TestContext.Current.CancellationToken);
                Assert.True(cancelled.IsCanceled);
                Take(cancelled.Buffer);
            }
        }
        while (received.Length < sent.Length)
            received.Write(await pair.Right.Input.ReadSomeAsync());
        Assert.Equal(sent, received.ToArray());
        await pair.EndCleanlyAsync();

        void Take(System.Buffers.ReadOnlySequence<byte> bytes)
        {
            foreach (ReadOnlyMemory<byte> part in bytes)
                received.Write(part.Span);
            pair.Right.Input.AdvanceTo(bytes.End);
        }
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACancelledFlushLosesNothing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o => o.PauseWriterBytes = 4096);
        byte[] sent = RandomNumberGenerator.GetBytes(400_000);
        using (var cancel = new CancellationTokenSource())
        {
            Task<FlushResult> flushing = pair.Left.Output.WriteAsync(sent.AsMemory(0, 200_000), cancel.Token).AsTask();
            Assert.False(flushing.IsCompleted);
            await cancel.CancelAsync();
            await Assert.ThrowsAsync<OperationCanceledException>(() => flushing);
        }
        Task<FlushResult> second = pair.Left.Output.WriteAsync(sent.AsMemory(200_000), TestContext.Current.CancellationToken).AsTask();
        pair.Left.Output.CancelPendingFlush();
        Assert.True((await second).IsCanceled);
        await pair.Left.Output.CompleteAsync();
        Assert.Equal(sent, await pair.Right.Input.ReadToEndAsync());
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AnAbortAtAnyPointLeavesNothing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        var random = new Random(7);
        for (int round = 0; round < 30; round++)
        {
            (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
            Task reading = DrainAsync(right.Input);
            Task writing = Task.Run(async () =>
            {
                // The cancellation may hit the middle of a frame.
                while (!(await left.Output.WriteAsync(new byte[random.Next(1, 200_000)])).IsCompleted)
                {
                }
            }, CancellationToken.None);
            for (int turns = random.Next(0, 20_000); turns > 0; turns--)
                Thread.SpinWait(10);
            (round % 2 == 0 ? left : right).Abort();
            await writing;
            await reading;
            await left.DisposeAsync();
            await right.DisposeAsync();
        }
        await pair.EndCleanlyAsync();
    }

    private static async Task DrainAsync(PipeReader reader)
    {
        try
        {
            await reader.CopyToAsync(Stream.Null);
        }
        catch (Exception e) when (e is Microsoft.AspNetCore.Connections.ConnectionAbortedException or Microsoft.AspNetCore.Connections.ConnectionResetException)
        {
            // This is the expected end.
        }
    }
}
