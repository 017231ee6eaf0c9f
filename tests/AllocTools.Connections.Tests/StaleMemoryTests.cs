using System.Net;
using AllocTools.Connections.Rings;
using AllocTools.Connections.Tests.Support;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>
/// Tests that what earlier renters have left in the pool's memory reaches neither the application nor the peer.
/// </summary>
public sealed class StaleMemoryTests
{
    private const byte Secret = 0xA5;

    [Fact]
    public async Task APeerThatAnnouncesBytesWithoutWritingThemUncoversNothing()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, static o => o.InitialRingBytes = 16 << 10);
        LeaveSecrets(side.Pool);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        await using ConnectionContext connection = (await accepting)!;
        await peer.WriteFrameAsync(new FrameHeader(4000, FrameFlags.Stalled, 4016, 0));
        Assert.All(await connection.Transport.Input.ReadBytesAsync(4000), static b => Assert.Equal(0, b));
        // The same holds for the ring that follows.
        await peer.TakeOfferAsync(new FrameHeader(0, FrameFlags.Switch, 16, 0), at: 4016, sequence: 1);
        await peer.WriteFrameAsync(new FrameHeader(16_000, FrameFlags.None, 16_016, 0), sequence: 2);
        Assert.All(await connection.Transport.Input.ReadBytesAsync(16_000), static b => Assert.Equal(0, b));
    }

    [Fact]
    public async Task ThePaddingOfAFrameIsEmpty()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        LeaveSecrets(side.Pool);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        await using ConnectionContext connection = (await accepting)!;
        for (int i = 1, at = 0; i <= 16; i++, at += 32)
        {
            byte[] sent = Enumerable.Repeat((byte)i, i).ToArray();
            await connection.Transport.Output.WriteAsync(sent, TestContext.Current.CancellationToken);
            Assert.Equal(new Notice(5, NoticeKind.Data, i - 1), await peer.NotifiedAsync());
            Assert.Equal([.. sent, .. new byte[16 - i]], peer.Ring.Slice(at + FrameHeader.Length, 16).ToArray());
        }
    }

    /// <summary>Fills the memory that the pool will hand out next.</summary>
    private static void LeaveSecrets(IRmaMemoryPool pool)
    {
        var buffers = new List<RmaBuffer>();
        for (int length = 1024; length <= 1 << 20; length *= 2)
        {
            for (int i = 0; i < (4 << 20) / length; i++)
                buffers.Add(pool.Rent(length));
        }
        foreach (RmaBuffer buffer in buffers)
        {
            buffer.Span.Fill(Secret);
            buffer.Dispose();
        }
    }
}
