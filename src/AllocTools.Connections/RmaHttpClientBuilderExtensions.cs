using AllocTools.Connections;
using Microsoft.Extensions.Http;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Makes clients of <c>AddHttpClient</c> and <c>AddGrpcClient</c> connect over registered memory.</summary>
/// <remarks>
/// The client's primary handler must be a <see cref="SocketsHttpHandler"/>, which is the default. It may be
/// configured before or after.
/// </remarks>
public static class RmaHttpClientBuilderExtensions
{
    /// <summary>
    /// Makes a client connect over the unnamed pool's registered memory, with the connections that
    /// <c>AddRmaConnections</c> has added.
    /// </summary>
    /// <param name="builder">The client.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return Use(builder, "AddRmaConnections()", static services => services.GetService<RmaConnections>());
    }

    /// <summary>
    /// Makes a client connect over a named pool's registered memory, with the connections that <c>AddRmaConnections</c>
    /// has added under that name.
    /// </summary>
    /// <param name="builder">The client.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder, string poolName)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        return Use(builder, $"AddRmaConnections(\"{poolName}\")", services => services.GetKeyedService<RmaConnections>(poolName));
    }

    private static IHttpClientBuilder Use(IHttpClientBuilder builder, string adds, Func<IServiceProvider, RmaConnections?> find)
    {
        string name = builder.Name;
        builder.UseSocketsHttpHandler();
        // This must run after everything that sets a handler, whatever the order of the calls.
        builder.Services.PostConfigure<HttpClientFactoryOptions>(name, options => options.HttpMessageHandlerBuilderActions.Add(handlers =>
        {
            RmaConnections connections = find(handlers.Services)
                ?? throw new InvalidOperationException($"The HTTP client '{name}' is set up with UseRma, but there are no connections for it. Call services.{adds} after AddRmaMemoryPool.");
            if (handlers.PrimaryHandler is not SocketsHttpHandler handler)
                throw new InvalidOperationException($"The HTTP client '{name}' is set up with UseRma, but its primary handler is a {handlers.PrimaryHandler.GetType().Name}; it must be a SocketsHttpHandler.");
            handler.UseRma(connections);
        }));
        return builder;
    }
}
