using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;

namespace AllocTools.Connections.Tests;

/// <summary>
/// Tests many connections and many bytes, and their cost. Nothing else runs meanwhile, because the sockets of the whole
/// process are counted.
/// </summary>
[Collection(nameof(LoadTests))]
[CollectionDefinition(nameof(LoadTests), DisableParallelization = true)]
public sealed class LoadTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AThousandConnectionsLeaveNothing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await ExchangeAsync(pair.Left, pair.Right);
        int sockets = OpenSockets();
        for (int round = 0; round < 10; round++)
        {
            var open = new List<(RmaConnection Left, RmaConnection Right)>();
            for (int i = 0; i < 100; i++)
                open.Add(await pair.ConnectAsync());
            Assert.Equal(101, pair.LeftSide.Connections.Count);
            await Task.WhenAll(open.Select(static o => ExchangeAsync(o.Left, o.Right)));
            // Both sides start to send; some connections are aborted.
            await Task.WhenAll(open.Select(async (o, i) =>
            {
                if (i % 10 == 0)
                    o.Left.Abort();
                await (i % 2 == 0 ? o.Left : o.Right).DisposeAsync();
                await (i % 2 == 0 ? o.Right : o.Left).DisposeAsync();
            }));
        }
        await BecomesAsync(() => (pair.LeftSide.Connections.Count, pair.RightSide.Connections.Count) == (1, 1));
        await BecomesAsync(() => OpenSockets() <= sockets);
        await ExchangeAsync(pair.Left, pair.Right);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AGibibyteArrivesAsItWas(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        byte[] part = RandomNumberGenerator.GetBytes(1_000_003);
        Task<byte[]> sending = Task.Run(async () =>
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (long left = 1L << 30; left > 0;)
            {
                Memory<byte> room = pair.Left.Output.GetMemory();
                int length = (int)Math.Min(Math.Min(left, room.Length), part.Length);
                part.AsSpan(0, length).CopyTo(room.Span);
                hash.AppendData(room.Span[..length]);
                pair.Left.Output.Advance(length);
                await pair.Left.Output.FlushAsync();
                left -= length;
            }
            await pair.Left.Output.CompleteAsync();
            return hash.GetHashAndReset();
        }, TestContext.Current.CancellationToken);
        using var received = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long count = 0;
        while (true)
        {
            ReadResult read = await pair.Right.Input.ReadAsync(TestContext.Current.CancellationToken);
            foreach (ReadOnlyMemory<byte> bytes in read.Buffer)
                received.AppendData(bytes.Span);
            count += read.Buffer.Length;
            pair.Right.Input.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
                break;
        }
        Assert.Equal(1L << 30, count);
        Assert.Equal(await sending, received.GetHashAndReset());
        await pair.EndCleanlyAsync();
    }

    private static async Task ExchangeAsync(RmaConnection left, RmaConnection right)
    {
        await left.Output.WriteAsync(new byte[100]);
        Assert.Equal(100, (await right.Input.ReadBytesAsync(100)).Length);
        await right.Output.WriteAsync(new byte[200]);
        Assert.Equal(200, (await left.Input.ReadBytesAsync(200)).Length);
    }

    private static int OpenSockets() => Directory.GetFiles("/proc/self/fd").Count(static f => new FileInfo(f).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true);

    private static async Task BecomesAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (!condition())
        {
            Assert.False(limit.IsCancellationRequested, $"{OpenSockets()} sockets are open.");
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
