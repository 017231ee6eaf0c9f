using System.Net;
using System.Net.Sockets;
using AllocTools;
using AllocTools.Connections;
using AllocTools.Connections.AspNetCore;
using AllocTools.Endpoints;
using AllocTools.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.AspNetCore.Hosting;

/// <summary>Makes Kestrel listen over registered memory, in addition to sockets.</summary>
/// <remarks>
/// HTTP/1.1, HTTP/2, HTTPS and everything on top of them work as on sockets, because Kestrel's layers above a
/// connection do not depend on its transport. HTTP/3 requires QUIC, and stays on UDP.
/// </remarks>
public static class RmaKestrelExtensions
{
    /// <summary>The default of the longest block: the block size of one of the pool's default classes.</summary>
    private const int DefaultMaxBlockSize = 64 << 10;

    /// <summary>
    /// Makes Kestrel listen over the unnamed pool on end points of the type <see cref="RmaEndPoint"/>, such as those of
    /// <c>ListenRma</c>.
    /// </summary>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool has not been added.</exception>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(static _ => false, configure);

    /// <summary>
    /// Makes Kestrel listen over the unnamed pool on selected IP end points, whether they come from URLs, from the
    /// configuration or from code; and on end points of the type <see cref="RmaEndPoint"/>.
    /// </summary>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="selects">Selects the end points: <c>e => e.Port == 5001</c>. All others use sockets.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The pool has not been added.</exception>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, Func<IPEndPoint, bool> selects, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(RmaMemoryPoolName.Default, selects, configure);

    /// <summary>
    /// Does the same as <see cref="UseRma(IWebHostBuilder, Action{RmaConnectionOptions})"/>, but over a named pool.
    /// <c>ListenRma</c> with the pool's name adds an end point.
    /// </summary>
    /// <inheritdoc cref="UseRma(IWebHostBuilder, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, string poolName, Action<RmaConnectionOptions>? configure = null) =>
        builder.UseRma(poolName, static _ => false, configure);

    /// <summary>
    /// Does the same as <see cref="UseRma(IWebHostBuilder, Func{IPEndPoint, bool}, Action{RmaConnectionOptions})"/>,
    /// but over a named pool. It may be called for each of several pools.
    /// </summary>
    /// <inheritdoc cref="UseRma(IWebHostBuilder, Func{IPEndPoint, bool}, Action{RmaConnectionOptions})"/>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="selects">Selects the end points: <c>e => e.Port == 5001</c>. End points that no pool selects use sockets.</param>
    /// <param name="configure">Sets options of the connections; null for none.</param>
    public static IWebHostBuilder UseRma(this IWebHostBuilder builder, string poolName, Func<IPEndPoint, bool> selects, Action<RmaConnectionOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        ArgumentNullException.ThrowIfNull(selects);
        // Kestrel adds sockets only if there is no transport yet.
        return builder.UseSockets().ConfigureServices(services =>
        {
            KeepOneSocketTransport(services);
            services.AddRmaConnections(poolName, configure);
            services.AddSingleton<IConnectionListenerFactory>(sp => new Transport(sp, poolName, selects));
        });
    }

    /// <summary>Listens over registered memory on a port of all addresses: IPv6 and IPv4, or only IPv4 if the system has no IPv6.</summary>
    /// <inheritdoc cref="ListenRma(KestrelServerOptions, IPEndPoint, Action{ListenOptions})"/>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="port">0 to 65,535; 0 lets the system choose one.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    public static void ListenRma(this KestrelServerOptions options, int port, Action<ListenOptions>? configure = null) =>
        options.ListenRma(new IPEndPoint(Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any, port), configure);

    /// <summary>Listens over registered memory.</summary>
    /// <remarks>
    /// As with all end points that are added in code, URLs (<c>ASPNETCORE_URLS</c>) are then ignored; the
    /// section Kestrel:Endpoints still applies.
    /// </remarks>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="endPoint">Address and TCP port of the control connection; port 0 lets the system choose one.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    /// <exception cref="InvalidOperationException"><c>UseRma</c> was not called, or another transport was added after it.</exception>
    public static void ListenRma(this KestrelServerOptions options, IPEndPoint endPoint, Action<ListenOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(endPoint);
        RmaEndPoint own = endPoint as RmaEndPoint ?? new RmaEndPoint(endPoint);
        // A transport that accepts all IP end points would silently take this one.
        IConnectionListenerFactory? binding = options.ApplicationServices?.GetServices<IConnectionListenerFactory>().LastOrDefault(f => f is not IConnectionListenerFactorySelector selector || selector.CanBind(own));
        if (binding is not (Transport or RmaConnectionListenerFactory))
            throw new InvalidOperationException($"Kestrel would listen on {own} with {binding?.GetType().Name ?? "no transport"}. Call builder.WebHost.UseRma(), after the calls that add other transports.");
        if (options.ApplicationServices!.GetService<IServiceProviderIsKeyedService>()?.IsKeyedService(typeof(RmaConnections), own.PoolName ?? RmaMemoryPoolName.Default) == false)
            throw new InvalidOperationException($"There are no connections over the pool '{own.PoolName ?? RmaMemoryPoolName.Default}' for {own}. Call builder.WebHost.UseRma(\"{own.PoolName ?? RmaMemoryPoolName.Default}\") first.");
        options.Listen(own, configure ?? (static _ => { }));
    }

    /// <summary>Listens over a named pool's registered memory, whose connections were added: <c>AddRmaConnections(poolName)</c>.</summary>
    /// <inheritdoc cref="ListenRma(KestrelServerOptions, IPEndPoint, Action{ListenOptions})"/>
    /// <param name="options">Kestrel's options.</param>
    /// <param name="endPoint">Address and TCP port of the control connection; port 0 lets the system choose one.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets protocols, HTTPS and the like; null for none.</param>
    public static void ListenRma(this KestrelServerOptions options, IPEndPoint endPoint, string poolName, Action<ListenOptions>? configure = null) =>
        options.ListenRma(new RmaEndPoint(endPoint, poolName), configure);

    /// <summary>
    /// Makes the server's own transports, such as Kestrel's over sockets, take their memory from the unnamed pool: the
    /// bytes of a request's body (<c>Request.BodyReader</c>) arrive in registered memory, and can be sent by RMA
    /// without a copy.
    /// </summary>
    /// <remarks>
    /// <para>
    /// It replaces ASP.NET Core's <see cref="IMemoryPoolFactory{T}"/> of bytes for the whole application; the last call
    /// counts. Idle blocks belong to the pool, which releases them according to its options (IdleRetention).
    /// <see cref="RmaSlice.TryGet(ReadOnlyMemory{byte}, out RmaSlice)"/> finds the
    /// registered memory of a segment, and <see cref="RmaBatch.TryWrite"/> writes all of a sequence.
    /// </para>
    /// <para>
    /// The pool's memory then consists of pinned arrays, because Kestrel accepts no other memory, so such a pool must
    /// not have HugePages or NumaNode. The memory counts as part of the managed heap. As usual, memory that Kestrel has
    /// taken back must not be used; such use is not detected.
    /// </para>
    /// <para>
    /// If the pool has no room, or can't register more memory, the server gets unregistered memory and continues: such
    /// a segment does not belong to the pool, which is logged and counted by the metric
    /// <c>rma.server_memory.unregistered</c>. Give the server its own pool that shares the provider, so that it does
    /// not take the room of other users.
    /// </para>
    /// </remarks>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="maxBlockSize">
    /// The longest block, in bytes: 4 KiB to 1 GiB. The server requests 4 KiB at a time and gets a block of the
    /// smallest class that fits, 16 KiB with the default classes; code that requests more at once
    /// (<c>Response.BodyWriter.GetMemory(sizeHint)</c>) gets up to this size.
    /// </param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxBlockSize"/> is out of its range.</exception>
    /// <exception cref="InvalidOperationException">The pool has not been added.</exception>
    public static IWebHostBuilder UseRmaMemory(this IWebHostBuilder builder, int maxBlockSize = DefaultMaxBlockSize) =>
        builder.UseRmaMemory(RmaMemoryPoolName.Default, maxBlockSize);

    /// <summary>Does the same as <see cref="UseRmaMemory(IWebHostBuilder, int)"/>, but with the memory of a named pool.</summary>
    /// <inheritdoc cref="UseRmaMemory(IWebHostBuilder, int)"/>
    /// <param name="builder">The web host, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="maxBlockSize">The longest block, in bytes: 4 KiB to 1 GiB.</param>
    public static IWebHostBuilder UseRmaMemory(this IWebHostBuilder builder, string poolName, int maxBlockSize = DefaultMaxBlockSize)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxBlockSize, 4 << 10);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxBlockSize, 1 << 30);
        return builder.ConfigureServices(services =>
        {
            PoolRegistration pool = services.Select(d => d.IsKeyedService ? null : d.ImplementationInstance).OfType<PoolRegistration>().FirstOrDefault(p => p.Key.DisplayName == poolName)
                ?? throw new InvalidOperationException($"There is no pool '{poolName}' yet. Add it before UseRmaMemory: AddRmaMemoryPool<TProvider>(…).");
            // Kestrel sends data in several blocks as arrays, and fails if they are not arrays.
            pool.IsOfArrays = true;
            services.AddSingleton<IValidateOptions<RmaMemoryPoolOptions>>(new ArrayPoolRule(pool));
            services.Replace(ServiceDescriptor.Singleton<IMemoryPoolFactory<byte>>(sp => new ServerMemoryFactory(sp, pool.Key, maxBlockSize)));
        });
    }

    /// <summary>
    /// Keeps the position of the socket transport, or adds it before all others. Kestrel tries the transport that was
    /// added last first, and sockets accept any IP end point.
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

    /// <summary>Refuses options that arrays don't support.</summary>
    private sealed class ArrayPoolRule(PoolRegistration pool) : IValidateOptions<RmaMemoryPoolOptions>
    {
        public ValidateOptionsResult Validate(string? name, RmaMemoryPoolOptions options)
        {
            if (!pool.Key.OptionsNames.Contains(name))
                return ValidateOptionsResult.Skip;
            const string Why = "because UseRmaMemory gives the pool's memory to the server as arrays. To keep the option, give the server a pool of its own that shares the provider.";
            List<string> failures = [];
            if (options.HugePages == RmaHugePages.Explicit)
                failures.Add($"{pool.Origin}HugePages is Explicit; it must be Off or Transparent, {Why}");
            if (options.NumaNode is >= 0)
                failures.Add($"{pool.Origin}NumaNode is {options.NumaNode}; it must not be set, {Why}");
            return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
        }
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
