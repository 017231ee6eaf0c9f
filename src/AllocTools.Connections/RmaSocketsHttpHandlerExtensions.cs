namespace AllocTools.Connections;

/// <summary>Makes HttpClient, and everything that is built on it, connect over registered memory.</summary>
public static class RmaSocketsHttpHandlerExtensions
{
    /// <summary>
    /// Makes a handler connect over registered memory. HTTPS, HTTP/2, connection pooling and WebSockets work as on
    /// sockets; host and port of a URL are those of the listener's control connection.
    /// </summary>
    /// <remarks>This applies to all connections of the handler, and no proxy is used.</remarks>
    /// <param name="handler">The handler, before its first request.</param>
    /// <param name="connections">The connections to use. They must outlive the handler.</param>
    /// <returns>The same handler.</returns>
    /// <exception cref="InvalidOperationException">The handler has already sent a request.</exception>
    public static SocketsHttpHandler UseRma(this SocketsHttpHandler handler, RmaConnections connections)
    {
        ArgumentNullException.ThrowIfNull(handler);
        ArgumentNullException.ThrowIfNull(connections);
        // This may be called again for a handler that several clients share. A handler that is in use can't be changed.
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
