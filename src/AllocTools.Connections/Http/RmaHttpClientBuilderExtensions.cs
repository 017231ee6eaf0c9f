using AllocTools.Connections;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Has clients of <c>AddHttpClient</c> and <c>AddGrpcClient</c> connect over registered memory.</summary>
public static class RmaHttpClientBuilderExtensions
{
    /// <summary>Has a client connect over the unnamed pool's registered memory.</summary>
    /// <param name="builder">The client.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder) =>
        builder.UseSocketsHttpHandler(static (handler, services) => handler.UseRma(services.GetRequiredService<RmaConnections>()));

    /// <summary>Has a client connect over a named pool's registered memory.</summary>
    /// <param name="builder">The client.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <returns>The same builder.</returns>
    public static IHttpClientBuilder UseRma(this IHttpClientBuilder builder, string poolName)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        return builder.UseSocketsHttpHandler((handler, services) => handler.UseRma(services.GetRequiredKeyedService<RmaConnections>(poolName)));
    }
}
