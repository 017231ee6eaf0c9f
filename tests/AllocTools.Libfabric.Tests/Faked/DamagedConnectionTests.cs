using System.IO.Pipelines;
using System.Net;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.Testing;
using CsCheck;
using Microsoft.AspNetCore.Connections;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests connections when a bit is flipped in the data that they move.</summary>
public sealed class DamagedConnectionTests
{
    private const int Ring = 1 << 16;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AnyFlippedBitEndsTheConnectionAtBothSidesOrIsNeverReadAndNothingWrongIsHandedOut(RmaIntegrity integrity)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new Pair(world, integrity);
        long ends = 0;
        int unread = 0;
        await Gen.Select(Gen.Int[1, 30], Gen.OneOf(Gen.Long[0, 8 * 48], Gen.Long[0, 1 << 20]), Gen.Int[1, 3000].Array[2]).SampleAsync(
            async (k, bit, lengths) =>
            {
                (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
                world.Flip(k, bit);
                using var limit = new CancellationTokenSource(TestTime.Seconds(30));
                long sent = 0, answered = 0, sentBefore = 0;
                // Credit, frames and ends move in both directions, until the damage is found.
                while (!await IsDamagedAsync(Exchange(left, right, lengths[0], ref sent), limit.Token) && !await IsDamagedAsync(Exchange(right, left, lengths[1], ref answered), limit.Token))
                {
                    if (world.Flipped == 0)
                        sentBefore = sent;
                    // A word of credit is replaced by the next one, possibly before the peer has read it.
                    else if (world.Flipped == sizeof(long) && sent - sentBefore > 2 * Ring)
                    {
                        unread++;
                        await Pair.EndAsync(left, right);
                        return;
                    }
                }
                Assert.NotEqual(0, world.Flipped);
                foreach (RmaConnection side in new[] { left, right })
                {
                    Exception error = await Assert.ThrowsAnyAsync<Exception>(() => side.Input.ReadAsync(limit.Token).AsTask());
                    Assert.True(error is ConnectionResetException { InnerException: RmaIntegrityException damage } && damage.Expected != damage.Found, error.ToString());
                }
                await Pair.EndAsync(left, right);
                ends++;
            },
            iter: 150, threads: 1);
        await pair.BecomesIdleAsync();
        Assert.Equal((ends, ends), (pair.EndsBy("integrity"), pair.EndsBy("peer_integrity")));
        Assert.InRange(unread, 0, (int)ends);
    }

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AnyFlippedBitOfTheCreditThatAWriterWaitsForEndsTheConnection(RmaIntegrity integrity)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new Pair(world, integrity);
        for (int bit = 0; bit < 8 * sizeof(long);)
        {
            (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
            using var limit = new CancellationTokenSource(TestTime.Seconds(30));
            long before = pair.Received;
            Task<FlushResult> writing;
            do
                writing = left.Output.WriteAsync(new byte[Ring], limit.Token).AsTask();
            while (writing.IsCompleted);
            while (pair.Received - before < Ring / 2 || pair.IsUnderWay)
                await Task.Delay(1, limit.Token);
            world.Flip(1, bit);
            ReadResult result = await right.Input.ReadAsync(limit.Token);
            right.Input.AdvanceTo(result.Buffer.End);
            Exception error = await Assert.ThrowsAnyAsync<Exception>(() => left.Input.ReadAsync(limit.Token).AsTask());
            Assert.True(error is ConnectionResetException { InnerException: RmaIntegrityException }, $"bit {bit}: {error}");
            // A waiting writer is released, as if the reader had ended.
            Assert.True((await writing).IsCompleted);
            // Otherwise a frame was still under way, and was hit.
            if (world.Flipped == sizeof(long))
                bit++;
            await Pair.EndAsync(left, right);
        }
    }

    [Fact]
    public async Task WithoutACheckValueAFlippedBitOfThePayloadIsHandedOut()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new Pair(world, RmaIntegrity.None);
        (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
        const int Header = 16;
        world.Flip(1, 8 * (Header + 5) + 3);
        await left.Output.WriteAsync(new byte[64], Token);
        ReadResult result = await right.Input.ReadAtLeastAsync(64, Token);
        byte[] expected = new byte[64];
        expected[5] = 1 << 3;
        Assert.Equal(expected, System.Buffers.BuffersExtensions.ToArray(result.Buffer));
        right.Input.AdvanceTo(result.Buffer.End);
        await Pair.EndAsync(left, right);
    }

    /// <summary>Moves bytes in one direction, and compares them with the expected ones.</summary>
    private static Task Exchange(RmaConnection from, RmaConnection to, int length, ref long position)
    {
        long start = position;
        position += length;
        byte[] bytes = [.. Enumerable.Range(0, length).Select(i => (byte)(31 * (start + i)))];
        return Task.WhenAll(from.Output.WriteAsync(bytes, Token).AsTask(), Task.Run(async () =>
        {
            for (int read = 0; read < length;)
            {
                ReadResult result = await to.Input.ReadAsync(Token);
                foreach (ReadOnlyMemory<byte> part in result.Buffer)
                {
                    Assert.Equal(bytes.AsSpan(read, part.Length), part.Span);
                    read += part.Length;
                }
                to.Input.AdvanceTo(result.Buffer.End);
            }
        }));
    }

    private static async Task<bool> IsDamagedAsync(Task exchange, CancellationToken limit)
    {
        try
        {
            await exchange.WaitAsync(limit);
            return false;
        }
        catch (ConnectionResetException e) when (e.InnerException is RmaIntegrityException)
        {
            return true;
        }
    }

    /// <summary>Two pools with connections, in one world.</summary>
    private sealed class Pair : IAsyncDisposable
    {
        private readonly EndpointPair _pools;
        private readonly RmaConnections _left;
        private readonly RmaConnections _right;
        private readonly RmaConnectionListener _listener;

        public Pair(FakeWorld world, RmaIntegrity integrity)
        {
            _pools = new EndpointPair(world.Name);
            // The ring has a fixed size, so that no message offers a longer one meanwhile.
            var options = new RmaConnectionOptions { Integrity = integrity, InitialRingBytes = Ring, MaxRingBytes = Ring };
            _left = new RmaConnections(_pools.Left.Pool, options);
            _right = new RmaConnections(_pools.Right.Pool, options);
            _listener = _right.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        }

        /// <summary>Gets the number of bytes received by the right side.</summary>
        public long Received => _right.GetStatistics().BytesReceived;

        /// <summary>Whether an operation of the left side has not completed yet.</summary>
        public bool IsUnderWay => _pools.Left.Endpoint.GetStatistics().Running > 0;

        public static Task EndAsync(RmaConnection left, RmaConnection right) => Task.WhenAll(left.DisposeAsync().AsTask(), right.DisposeAsync().AsTask());

        public async Task<(RmaConnection Left, RmaConnection Right)> ConnectAsync()
        {
            Task<RmaConnection> left = _left.ConnectAsync(_listener.EndPoint, Token).AsTask();
            var right = (RmaConnection)(await _listener.AcceptAsync(Token))!;
            return (await left, right);
        }

        public async Task BecomesIdleAsync()
        {
            using var limit = new CancellationTokenSource(TestTime.Seconds(20));
            while (_left.Count + _right.Count > 0)
                await Task.Delay(20, limit.Token);
        }

        public long EndsBy(string error) => _left.GetStatistics().EndsByError.GetValueOrDefault(error) + _right.GetStatistics().EndsByError.GetValueOrDefault(error);

        public async ValueTask DisposeAsync()
        {
            await _listener.DisposeAsync();
            await _left.DisposeAsync();
            await _right.DisposeAsync();
            await _pools.DisposeAsync();
        }
    }
}
