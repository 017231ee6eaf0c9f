using System.Net;
using AllocTools;
using AllocTools.Connections;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;

namespace Orleans.Hosting;

/// <summary>Makes Orleans connect over registered memory: silos to each other, and clients to gateways.</summary>
/// <remarks>
/// <para>
/// Ports, membership, directory, TLS and grains stay as they are; only the transport of the bytes is replaced. All
/// silos and clients of a cluster must use it, because a silo listens at the same ports as with sockets.
/// </para>
/// <para>
/// Orleans resolves its connections from keyed services with its own keys. The call finds these services among those
/// that Orleans has already added to the builder, and replaces them in place. It fails if there are none.
/// </para>
/// </remarks>
public static class RmaOrleansExtensions
{
    /// <summary>Makes a silo listen and connect over the unnamed pool.</summary>
    /// <param name="builder">The silo, in an application that has called <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was not added before, or this version of Orleans has no connections that can be replaced.</exception>
    public static ISiloBuilder UseRma(this ISiloBuilder builder, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(RmaMemoryPoolName.Default, configure);

    /// <summary>Makes a silo listen and connect over a named pool.</summary>
    /// <inheritdoc cref="UseRma(ISiloBuilder, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The silo, in an application that has called <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static ISiloBuilder UseRma(this ISiloBuilder builder, string poolName, Action<RmaConnectionOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.AddRmaConnections(poolName, configure);
        // The two listeners are those for silos and for gateway clients.
        Replace(builder.Services, listeners: 2, (sp, _) => new Connections(sp, poolName));
        return builder;
    }

    /// <summary>Makes a client connect to gateways over the unnamed pool.</summary>
    /// <param name="builder">The client, in an application that has called <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was not added before, or this version of Orleans has no connections that can be replaced.</exception>
    public static IClientBuilder UseRma(this IClientBuilder builder, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(RmaMemoryPoolName.Default, configure);

    /// <summary>Makes a client connect to gateways over a named pool.</summary>
    /// <inheritdoc cref="UseRma(IClientBuilder, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The client, in an application that has called <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static IClientBuilder UseRma(this IClientBuilder builder, string poolName, Action<RmaConnectionOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.AddRmaConnections(poolName, configure);
        Replace(builder.Services, listeners: 0, (sp, _) => new Connections(sp, poolName));
        return builder;
    }

    private static void Replace(IServiceCollection services, int listeners, Func<IServiceProvider, object?, object> make)
    {
        int[] factories = [.. Find(services, typeof(IConnectionFactory))];
        int[] listenerFactories = [.. Find(services, typeof(IConnectionListenerFactory))];
        if (factories.Length != 1 || listenerFactories.Length != listeners)
            throw new InvalidOperationException($"Orleans has added {factories.Length} connection factories and {listenerFactories.Length} listener factories where 1 and {listeners} were expected. UseRma may have been called twice, or may not support this version of Orleans.");
        foreach (int index in (int[])[.. factories, .. listenerFactories])
            services[index] = ServiceDescriptor.DescribeKeyed(services[index].ServiceType, services[index].ServiceKey, make, ServiceLifetime.Singleton);
    }

    /// <summary>Returns the positions at which Orleans has added keyed services of that type.</summary>
    private static IEnumerable<int> Find(IServiceCollection services, Type type) => Enumerable.Range(0, services.Count).Where(i =>
        services[i] is { IsKeyedService: true, KeyedImplementationFactory: { } factory } service
        && service.ServiceType == type
        && factory.Method.Module.Assembly.GetName().Name!.StartsWith("Orleans.", StringComparison.Ordinal));

    /// <summary>
    /// Implements both factories. It resolves the connections late, because the silo's components are created before
    /// the pool is opened.
    /// </summary>
    private sealed class Connections(IServiceProvider services, string poolName) : IConnectionFactory, IConnectionListenerFactory
    {
        private RmaConnections Get() => services.GetRequiredKeyedService<RmaConnections>(poolName);

        public async ValueTask<ConnectionContext> ConnectAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
            await Get().ConnectAsync(endpoint, cancellationToken).ConfigureAwait(false);

        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) => endpoint is IPEndPoint ip
            ? ValueTask.FromResult<IConnectionListener>(Get().Listen(ip))
            : throw new NotSupportedException($"The end point of a silo is {endpoint}; it must be an IP address and a port.");
    }
}
