using System.Net;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.Tests.Support;

/// <summary>A connection with both of its sides in this process.</summary>
internal sealed class ConnectedPair : IAsyncDisposable
{
    private readonly RmaConnectionListener _listener;

    private ConnectedPair(ConnectionSide left, ConnectionSide right, RmaConnectionListener listener)
    {
        LeftSide = left;
        RightSide = right;
        _listener = listener;
    }

    public ConnectionSide LeftSide { get; }

    public ConnectionSide RightSide { get; }

    /// <summary>The side that has connected.</summary>
    public RmaConnection Left { get; private set; } = null!;

    /// <summary>The side that has accepted.</summary>
    public RmaConnection Right { get; private set; } = null!;

    public EndPoint EndPoint => _listener.EndPoint;

    public static async Task<ConnectedPair> OpenAsync(
        string fabric, Action<RmaConnectionOptions>? configure = null, ILoggerFactory? logging = null, Func<IRmaMemoryPool, IRmaMemoryPool>? wrapLeft = null, Func<IRmaMemoryPool, IRmaMemoryPool>? wrapRight = null, long limit = 0,
        TimeProvider? time = null, RmaIsolation isolation = RmaIsolation.Shared)
    {
        var right = new ConnectionSide(fabric, configure, logging, wrap: wrapRight, limit: limit, time: time, isolation: isolation);
        var pair = new ConnectedPair(new ConnectionSide(fabric, configure, logging, wrap: wrapLeft, limit: limit, time: time, isolation: isolation), right, right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0)));
        (pair.Left, pair.Right) = await pair.ConnectAsync();
        return pair;
    }

    /// <summary>Opens another connection.</summary>
    public async Task<(RmaConnection Left, RmaConnection Right)> ConnectAsync()
    {
        Task<RmaConnection> left = LeftSide.Connections.ConnectAsync(_listener.EndPoint, TestContext.Current.CancellationToken).AsTask();
        var right = (RmaConnection)(await _listener.AcceptAsync(TestContext.Current.CancellationToken))!;
        return (await left, right);
    }

    /// <summary>Ends both sides, and checks that nothing is left.</summary>
    public async Task EndCleanlyAsync()
    {
        await Left.DisposeAsync();
        await Right.DisposeAsync();
        await LeftSide.BecomesCleanAsync();
        await RightSide.BecomesCleanAsync();
    }

    public async ValueTask DisposeAsync()
    {
        // Users do this as well, even in a test that has failed.
        await LeftSide.EndsAsync(Task.WhenAll(Left?.DisposeAsync().AsTask() ?? Task.CompletedTask, Right?.DisposeAsync().AsTask() ?? Task.CompletedTask));
        await LeftSide.DisposeAsync();
        await RightSide.DisposeAsync();
    }
}
