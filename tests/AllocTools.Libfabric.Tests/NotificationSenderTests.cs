using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests several peers that write to one endpoint: no write is attributed to another peer.</summary>
public sealed class NotificationSenderTests
{
    private const int Writers = 3;

    public static TheoryData<string> Fabrics => new(Fabric.All);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task TheSenderIsTheWriterOrUnknown(string fabric)
    {
        await using var target = new ConformingSide(Fabric.Open(fabric));
        using RmaBuffer memory = target.Pool.Rent(4096);
        using RmaExposure exposure = memory.Expose(RmaAccess.RemoteWrite);
        var writers = new List<ConformingSide>();
        var peers = new List<RmaPeer>();
        try
        {
            for (int i = 0; i < Writers; i++)
            {
                var writer = new ConformingSide(Fabric.Open(fabric));
                writers.Add(writer);
                peers.Add(target.Endpoint.InsertPeer(writer.Endpoint.Address.Span));
                writer.Peer = writer.Endpoint.InsertPeer(target.Endpoint.Address.Span);
            }
            for (int round = 0; round < 10; round++)
            {
                for (int i = 0; i < Writers; i++)
                {
                    // A message leaves its sender behind, which must not be used for a queue entry that names no sender.
                    await writers[(i + round) % Writers].AssertReachesAsync(writers[(i + round) % Writers].Peer, target);
                    using RmaBuffer source = writers[i].Pool.Rent(64);
                    using RemoteRegion remote = writers[i].Endpoint.Import(writers[i].Peer, exposure.Remote);
                    await writers[i].Endpoint.WriteAsync(source.Slice(0, 64), remote.Slice(0, 64), (ulong)i, cancellationToken: Token);
                    RmaNotification notification = await target.Endpoint.ReadNotificationsAsync(Token).FirstAsync(Token);
                    Assert.Equal((ulong)i, notification.Value);
                    if (notification.Sender is { } sender)
                        Assert.Equal(peers[i], sender);
                }
            }
        }
        finally
        {
            foreach (ConformingSide writer in writers)
                await writer.DisposeAsync();
        }
    }
}
