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
        handler.UseProxy = false;
        handler.ConnectCallback = async (context, cancellationToken) =>
            (await connections.ConnectAsync(context.DnsEndPoint, cancellationToken).ConfigureAwait(false)).AsStream();
        return handler;
    }
}
