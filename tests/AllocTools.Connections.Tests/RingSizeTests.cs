using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;

namespace AllocTools.Connections.Tests;

/// <summary>Tests rings that grow under load and shrink when idle.</summary>
public sealed class RingSizeTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ARingGrowsWhileItsReaderKeepsUpAndShrinksWhenNothingComes(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o =>
        {
            (o.InitialRingBytes, o.MaxRingBytes) = (1024, 256 << 10);
            (o.HeartbeatInterval, o.IdleShrinkAfter) = (TestTime.Seconds(0.02), TestTime.Seconds(0.1));
        });
        int first = pair.Right.Reader.RingLength;
        for (int round = 0; round < 3; round++)
        {
            await SendUntilAsync(pair, () => pair.Right.Reader.RingLength == 256 << 10);
            await BecomesAsync(() => pair.Right.Reader.RingLength == first);
            // Only the first rings are left, and no staging memory.
            await BecomesAsync(() => pair.RightSide.Pool.GetStatistics().RentedBuffers == 1 && pair.LeftSide.Pool.GetStatistics().RentedBuffers == 1);
        }
        await SendUntilAsync(pair, () => true);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task ARingThatFindsNoRoomStaysAsItIs()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, o => o.MaxRingBytes = 1 << 30);
        var rest = new List<RmaBuffer>();
        while (pair.RightSide.Pool.TryRent(64 << 10, out RmaBuffer buffer))
            rest.Add(buffer);
        int before = pair.Right.Reader.RingLength;
        for (int i = 0; i < 10; i++)
            await SendUntilAsync(pair, () => true);
        Assert.Equal(before, pair.Right.Reader.RingLength);
        rest.ForEach(static b => b.Dispose());
        await SendUntilAsync(pair, () => pair.Right.Reader.RingLength > before);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task AfterARefusalThePoolIsLeftAloneForAWhile()
    {
        HeldPool? held = null;
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, wrapRight: p => held = new HeldPool(p) { IsFull = true });
        var time = System.Diagnostics.Stopwatch.StartNew();
        for (int i = 0; i < 10; i++)
            await SendUntilAsync(pair, () => true);
        // The pause is one second after the first refusal, and two after the second.
        Assert.InRange(held!.Tries, 1, 1 + time.Elapsed.TotalSeconds);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task ARingOfTheLongestLengthDoesNotGrow()
    {
        HeldPool? held = null;
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, static o => (o.InitialRingBytes, o.MaxRingBytes) = (4096, 4096), wrapRight: p => held = new HeldPool(p));
        await SendUntilAsync(pair, () => true);
        Assert.Equal(0, held!.Tries);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task LargerRingsTakeHalfOfThePoolAtTheMost()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, limit: 16 << 20);
        var open = new List<(RmaConnection Left, RmaConnection Right)>();
        for (int i = 0; i < 20; i++)
        {
            open.Add(await pair.ConnectAsync());
            await SendUntilAsync(open[^1].Left, open[^1].Right, () => true);
        }
        Assert.Contains(open, static o => o.Right.Reader.RingLength > 16 << 10);
        Assert.True(open.Sum(static o => (long)o.Right.Reader.RingLength) <= (8 << 20) + (20 * 1024));
        foreach ((RmaConnection left, RmaConnection right) in open)
        {
            await left.DisposeAsync();
            await right.DisposeAsync();
        }
        // Their memory is available to others.
        await SendUntilAsync(pair, () => pair.Right.Reader.RingLength > 16 << 10);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task ARingShrinksThoughMemoryOfTheWriterWasHandedOut()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, o =>
        {
            (o.InitialRingBytes, o.MaxRingBytes) = (1024, 256 << 10);
            (o.HeartbeatInterval, o.IdleShrinkAfter) = (TestTime.Seconds(0.02), TestTime.Seconds(0.1));
        });
        int first = pair.Right.Reader.RingLength;
        await SendUntilAsync(pair, () => pair.Right.Reader.RingLength == 256 << 10);
        Memory<byte> room = pair.Left.Output.GetMemory(20_000);
        await BecomesAsync(() => pair.Right.Reader.RingLength == first);
        byte[] sent = RandomNumberGenerator.GetBytes(20_000);
        sent.CopyTo(room);
        pair.Left.Output.Advance(sent.Length);
        ValueTask<System.IO.Pipelines.FlushResult> flush = pair.Left.Output.FlushAsync(TestContext.Current.CancellationToken);
        Assert.Equal(sent, await pair.Right.Input.ReadBytesAsync(sent.Length));
        await flush;
        await pair.EndCleanlyAsync();
    }

    /// <summary>Sends a megabyte again and again until a condition holds; each must arrive unchanged.</summary>
    private static async Task SendUntilAsync(ConnectedPair pair, Func<bool> condition) => await SendUntilAsync(pair.Left, pair.Right, condition);

    private static async Task SendUntilAsync(RmaConnection left, RmaConnection right, Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        do
        {
            Assert.False(limit.IsCancellationRequested, $"The ring has {right.Reader.RingLength} bytes.");
            byte[] sent = RandomNumberGenerator.GetBytes(1_000_000);
            Task writing = Task.Run(async () =>
            {
                for (int at = 0; at < sent.Length; at += 50_000)
                    await left.Output.WriteAsync(sent.AsMemory(at, 50_000));
            }, TestContext.Current.CancellationToken);
            var received = new MemoryStream();
            while (received.Length < sent.Length)
                received.Write(await right.Input.ReadSomeAsync());
            await writing;
            Assert.Equal(sent, received.ToArray());
        }
        while (!condition());
    }

    private static async Task BecomesAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (!condition())
        {
            Assert.False(limit.IsCancellationRequested);
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
