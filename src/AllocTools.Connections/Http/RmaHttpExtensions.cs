using System.Net.Http;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Connections;

/// <summary>Has HttpClient, and what stands on it, connect over registered memory.</summary>
public static class RmaHttpExtensions
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

    /// <summary>Has a named or typed client of <c>AddHttpClient</c> or <c>AddGrpcClient</c> connect over the unnamed pool's registered memory.</summary>
    /// <param name="builder">The client.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder) =>
        builder.UseSocketsHttpHandler(static (handler, services) => handler.UseRma(services.GetRequiredService<RmaConnections>()));

    /// <summary>Has a named or typed client of <c>AddHttpClient</c> or <c>AddGrpcClient</c> connect over a named pool's registered memory.</summary>
    /// <param name="builder">The client.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder, string poolName)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        return builder.UseSocketsHttpHandler((handler, services) => handler.UseRma(services.GetRequiredKeyedService<RmaConnections>(poolName)));
    }
}
