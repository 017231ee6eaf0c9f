using System.Net;
using System.Net.Sockets;
using AllocTools;
using AllocTools.Connections;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.AspNetCore.Hosting;

/// <summary>Has Kestrel listen over registered memory, beside sockets.</summary>
/// <remarks>
/// HTTP/1.1, HTTP/2, HTTPS and all that stands on them work as on sockets, since Kestrel's layers above a connection do not know what carries
/// it. HTTP/3 is of QUIC alone, and stays on UDP.
/// </remarks>
public static class RmaKestrelExtensions
{
    /// <summary>Has Kestrel listen over the unnamed pool at end points of the type <see cref="RmaEndPoint"/>, such as those of <c>ListenRma</c>.</summary>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was not added before.</exception>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(static _ => false, configure);

    /// <summary>
    /// Has Kestrel listen over the unnamed pool at those of its IP end points that are selected, whether they come from URLs, from the
    /// configuration or from code; and at end points of the type <see cref="RmaEndPoint"/>.
    /// </summary>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="selects">Picks the end points: <c>e => e.Port == 5001</c>. What it does not pick goes over sockets.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool was not added before.</exception>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, Func<IPEndPoint, bool> selects, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(RmaMemoryPoolName.Default, selects, configure);

    /// <summary>As <see cref="UseRma(IWebHostBuilder, Action{RmaConnectionOptions})"/>, over a named pool; <c>ListenRma</c> with its name adds an end point.</summary>
    /// <inheritdoc cref="UseRma(IWebHostBuilder, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, string poolName, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(poolName, static _ => false, configure);

    /// <summary>As <see cref="UseRma(IWebHostBuilder, Func{IPEndPoint, bool}, Action{RmaConnectionOptions})"/>, over a named pool. It may be called for each of several pools.</summary>
    /// <inheritdoc cref="UseRma(IWebHostBuilder, Func{IPEndPoint, bool}, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="selects">Picks the end points: <c>e => e.Port == 5001</c>. What no pool's function picks goes over sockets.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, string poolName, Func<IPEndPoint, bool> selects, Action<RmaConnectionOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        ArgumentNullException.ThrowIfNull(selects);
        // Kestrel adds sockets only where there is no transport yet.
        return builder.UseSockets().ConfigureServices(services =>
        {
            KeepOneSocketTransport(services);
            services.AddRmaConnections(poolName, configure);
            services.AddSingleton<IConnectionListenerFactory>(sp => new Transport(sp, poolName, selects));
        });
    }

    /// <summary>Listens over registered memory at a port of all addresses: of IPv6 and IPv4, or of IPv4 alone where the system has no IPv6.</summary>
    /// <inheritdoc cref="ListenRma(KestrelServerOptions, IPEndPoint, Action{ListenOptions})"/>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="port">0 to 65,535; 0 lets the system pick one.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    public static void ListenRma(this KestrelServerOptions options, int port, Action<ListenOptions>? configure = null) =>
        options.ListenRma(new IPEndPoint(Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any, port), configure);

    /// <summary>Listens over registered memory.</summary>
    /// <remarks>As with all end points that code adds, URLs (<c>ASPNETCORE_URLS</c>) no longer count; the section Kestrel:Endpoints does.</remarks>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="endPoint">Address and TCP port of the control connection; port 0 lets the system pick one.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    /// <exception cref="InvalidOperationException"><c>UseRma</c> was not called, or another transport was added after it.</exception>
    public static void ListenRma(this KestrelServerOptions options, IPEndPoint endPoint, Action<ListenOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(endPoint);
        RmaEndPoint own = endPoint as RmaEndPoint ?? new RmaEndPoint(endPoint);
        // A transport for any IP end point would take it without a word.
        IConnectionListenerFactory? binding = options.ApplicationServices?.GetServices<IConnectionListenerFactory>().LastOrDefault(f => f is not IConnectionListenerFactorySelector selector || selector.CanBind(own));
        if (binding is not (Transport or RmaConnectionListenerFactory))
            throw new InvalidOperationException($"Kestrel would listen at {own} by {binding?.GetType().Name ?? "no transport"}. Call builder.WebHost.UseRma() first, and after other transports.");
        if (options.ApplicationServices!.GetService<IServiceProviderIsKeyedService>()?.IsKeyedService(typeof(RmaConnections), own.PoolName ?? RmaMemoryPoolName.Default) == false)
            throw new InvalidOperationException($"There are no connections over the pool '{own.PoolName ?? RmaMemoryPoolName.Default}' for {own}. Call builder.WebHost.UseRma(\"{own.PoolName ?? RmaMemoryPoolName.Default}\") first.");
        options.Listen(own, configure ?? (static _ => { }));
    }

    /// <summary>Listens over a named pool's registered memory, whose connections were added: <c>AddRmaConnections(poolName)</c>.</summary>
    /// <inheritdoc cref="ListenRma(KestrelServerOptions, IPEndPoint, Action{ListenOptions})"/>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="endPoint">Address and TCP port of the control connection; port 0 lets the system pick one.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    public static void ListenRma(this KestrelServerOptions options, IPEndPoint endPoint, string poolName, Action<ListenOptions>? configure = null) =>
        options.ListenRma(new RmaEndPoint(endPoint, poolName), configure);

    /// <summary>
    /// Leaves the transport over sockets where it was, or before all others where it was not: Kestrel asks the transport that was added last first, and sockets take any IP end point.
    /// </summary>
    private static void KeepOneSocketTransport(IServiceCollection services)
    {
        ServiceDescriptor[] transports = [.. services.Where(static d => d.ServiceType == typeof(IConnectionListenerFactory) && !d.IsKeyedService)];
        ServiceDescriptor added = transports.Last(static d => d.ImplementationType == typeof(SocketTransportFactory));
        if (ReferenceEquals(added, transports[0]))
            return;
        services.Remove(added);
        if (!transports.Any(d => d.ImplementationType == typeof(SocketTransportFactory) && !ReferenceEquals(d, added)))
            services.Insert(services.IndexOf(transports[0]), added);
    }

    /// <summary>Kestrel's transport over one pool. The server is made when an application is built, but the pool is opened when it starts.</summary>
    private sealed class Transport(IServiceProvider services, string poolName, Func<IPEndPoint, bool> selects) : IConnectionListenerFactory, IConnectionListenerFactorySelector
    {
        public bool CanBind(EndPoint endpoint) => endpoint is RmaEndPoint || (endpoint is IPEndPoint ip && selects(ip));

        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
        {
            string pool = endpoint is RmaEndPoint own ? own.PoolName ?? RmaMemoryPoolName.Default : poolName;
            return ValueTask.FromResult<IConnectionListener>(services.GetRequiredKeyedService<RmaConnections>(pool).Listen((IPEndPoint)endpoint));
        }
    }
}
