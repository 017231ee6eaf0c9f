using System.Net;
using AllocTools.Connections.Control;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests how the endpoint's operations are shared among the peers.</summary>
public sealed class OperationShareTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task APeerThatSaysItIsManyProcessesHasOneShare()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        await using var other = new RawPeer(listener.EndPoint);
        await using var honest = (RmaConnection)await SetUpAsync(other, RawPeer.Terms);
        RmaConnection? first = null;
        for (int i = 0; i < 5; i++)
        {
            if (i > 0)
                peer.ConnectAgain();
            var connection = (RmaConnection)await SetUpAsync(peer, RawPeer.Terms with { Process = Guid.NewGuid() });
            first ??= connection;
            Assert.Equal(i > 0, first.PeerProcess != connection.PeerProcess);
            Assert.Same(first.Share, connection.Share);
            Assert.NotSame(honest.Share, connection.Share);
        }
        Assert.Equal(5, first!.Share.Connections);

        async Task<ConnectionContext> SetUpAsync(RawPeer from, ProcessTerms terms)
        {
            ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
            await from.SendAsync(from.HelloWith(terms));
            await from.FinishSetUpAsync();
            return (await accepting)!;
        }
    }

    /// <summary>
    /// If a failed attempt counted for a moment, it would hide a place that has become free from those that wait for
    /// it.
    /// </summary>
    [Fact]
    public async Task AttemptsThatFindNoPlaceTakeNone()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, endpoint: static o => o.MaxOutstanding = 1);
        OperationShares shares = side.Connections.Shares;
        OperationShares.PeerShare share = shares.Join(side.Connections.InsertPeer(side.Connections.Address.Span));
        // This takes the only place.
        OperationShares.NoteRefused(share);
        int most = 0;
        using var ends = new CancellationTokenSource();
        Task watching = Task.Factory.StartNew(
            () =>
            {
                while (!ends.IsCancellationRequested)
                    most = Math.Max(most, Volatile.Read(ref share.Running));
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Task[] attempts = [.. Enumerable.Range(0, 2).Select(_ => Task.Factory.StartNew(
            () =>
            {
                for (int i = 0; i < 1_000_000; i++)
                    Assert.False(shares.TryStart(share, default, null!));
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        await Task.WhenAll(attempts).WaitAsync(TestTime.Seconds(60), Token);
        await ends.CancelAsync();
        await watching;
        Assert.Equal(1, most);
        Assert.Equal(1, share.Running);
    }
}
