namespace AllocTools.Connections;

/// <summary>Has HttpClient, and what stands on it, connect over registered memory.</summary>
public static class RmaSocketsHttpHandlerExtensions
{
    /// <summary>
    /// Has a handler connect over registered memory. HTTPS, HTTP/2, pooling of connections and WebSockets work as on sockets; host and port of
    /// a URL are those of the listener's control connection.
    /// </summary>
    /// <remarks>All of the handler's connections do so; there is no proxy between them.</remarks>
    /// <param name="handler">The handler, before its first request.</param>
    /// <param name="connections">What connects. It must outlive the handler.</param>
    /// <returns>The same handler.</returns>
    /// <exception cref="InvalidOperationException">The handler has sent a request already.</exception>
    public static SocketsHttpHandler UseRma(this SocketsHttpHandler handler, RmaConnections connections)
    {
        ArgumentNullException.ThrowIfNull(handler);
        ArgumentNullException.ThrowIfNull(connections);
        // A handler may be given to several clients, or to one again; once it is in use it takes no change.
        if (handler.ConnectCallback?.Target is Connector { Connections: var own } && own == connections)
            return handler;
        handler.UseProxy = false;
        handler.ConnectCallback = new Connector(connections).ConnectAsync;
        return handler;
    }

    private sealed class Connector(RmaConnections connections)
    {
        public RmaConnections Connections => connections;

        public async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken) =>
            (await connections.ConnectAsync(context.DnsEndPoint, cancellationToken).ConfigureAwait(false)).AsStream();
    }
}
