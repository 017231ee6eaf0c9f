using System.Diagnostics.CodeAnalysis;
using AllocTools;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Hosting;
using AllocTools.Regions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds pools of registered memory to an application.</summary>
/// <remarks>
/// <para>
/// Each overload adds, as singletons: <see cref="IRmaMemoryPool"/>, <see cref="RmaMemoryPool{TProvider}"/>,
/// <see cref="IRmaEndpoint"/> and <see cref="AllocTools.Caching.RmaRegistrationCache"/>. The endpoint is opened when
/// it is first requested (also by its own type, such as <c>LibfabricEndpoint</c>, if the provider's descriptor names
/// it), and the cache is created when it is first requested. For a named pool, they are keyed services, whose key is
/// its name.
/// </para>
/// <para>
/// Under a host the options are validated and the pool is opened and warmed before any hosted service starts; a
/// failure fails the start. After the last hosted service has stopped, the pool is drained for at most
/// <see cref="RmaMemoryPoolOptions.DrainTimeout"/>, then endpoint, pool and provider are closed.
/// </para>
/// <para>
/// When the configuration changes in use, the pool applies the options that may change
/// (<see cref="RmaMemoryPool{TProvider}.Reconfigure"/>); for the others, a message is logged that they need a restart.
/// Invalid changes are logged and have no effect.
/// </para>
/// <para>The container may hold an <c>IBlockAllocator</c> and a <see cref="TimeProvider"/>; pools use them.</para>
/// <para>Like the service collection itself, use it from one thread, while services are added.</para>
/// </remarks>
public static class RmaMemoryPoolServiceCollectionExtensions
{
    private const DynamicallyAccessedMemberTypes Constructors = DynamicallyAccessedMemberTypes.PublicConstructors;

    /// <summary>Adds the unnamed pool, with the default options.</summary>
    /// <typeparam name="TProvider">
    /// The provider that registers the memory. Its <see cref="IRmaProvider.Descriptor"/> creates it; without one the
    /// container creates it, and its constructor may request any service and <see cref="RmaProviderActivation"/>.
    /// </typeparam>
    /// <param name="services">Where to add it.</param>
    /// <returns>A builder that sets more options.</returns>
    /// <exception cref="InvalidOperationException">The unnamed pool, or one named <c>default</c>, was already added.</exception>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(this IServiceCollection services)
        where TProvider : class, IRmaProvider =>
        Add<TProvider>(services, Options.Options.DefaultName, section: null);

    /// <summary>Adds the unnamed pool.</summary>
    /// <inheritdoc cref="AddRmaMemoryPool{TProvider}(IServiceCollection)"/>
    /// <param name="services">Where to add it.</param>
    /// <param name="configure">Sets the pool's options.</param>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(
        this IServiceCollection services, Action<RmaMemoryPoolOptions> configure)
        where TProvider : class, IRmaProvider
    {
        ArgumentNullException.ThrowIfNull(configure);
        return Add<TProvider>(services, Options.Options.DefaultName, section: null).Configure(configure);
    }

    /// <summary>Adds the unnamed pool, with options from the configuration.</summary>
    /// <inheritdoc cref="AddRmaMemoryPool{TProvider}(IServiceCollection)"/>
    /// <param name="services">Where to add it.</param>
    /// <param name="section">
    /// The pool's options, by the names of <see cref="RmaMemoryPoolOptions"/>; those of the provider are in its
    /// subsection <c>Provider</c>, or the one that the provider's descriptor names. A provider without a descriptor has its
    /// options bound by the builder's <c>ConfigureProvider</c>.
    /// Sizes are numbers of bytes or <c>"64 KiB"</c>. Any other key fails the start, unless the section has
    /// <c>"AllowUnknownKeys": true</c>.
    /// </param>
    /// <example>
    /// <code>
    /// builder.Services.AddRmaMemoryPool&lt;LibfabricProvider&gt;(builder.Configuration.GetSection("AllocTools"))
    ///     .Configure(options =&gt; options.Access = RmaAccess.RemoteWrite);
    /// // Services request IRmaMemoryPool and IRmaEndpoint.
    /// </code>
    /// </example>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(
        this IServiceCollection services, IConfigurationSection section)
        where TProvider : class, IRmaProvider
    {
        ArgumentNullException.ThrowIfNull(section);
        return Add<TProvider>(services, Options.Options.DefaultName, section);
    }

    /// <summary>Adds a named pool, with the default options.</summary>
    /// <typeparam name="TProvider">
    /// The provider that registers the memory. Its <see cref="IRmaProvider.Descriptor"/> creates it; without one the
    /// container creates it, and its constructor may request any service and <see cref="RmaProviderActivation"/>.
    /// </typeparam>
    /// <param name="services">Where to add it.</param>
    /// <param name="name">The pool's name: the key of its services, the name of its options, and its name in logs, metrics and errors.</param>
    /// <returns>A builder that sets more options.</returns>
    /// <exception cref="ArgumentException">The name is null or empty.</exception>
    /// <exception cref="InvalidOperationException">A pool of that name was already added.</exception>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(this IServiceCollection services, string name)
        where TProvider : class, IRmaProvider
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return Add<TProvider>(services, name, section: null);
    }

    /// <summary>Adds a named pool.</summary>
    /// <inheritdoc cref="AddRmaMemoryPool{TProvider}(IServiceCollection, string)"/>
    /// <param name="services">Where to add it.</param>
    /// <param name="name">The pool's name: the key of its services, the name of its options, and its name in logs, metrics and errors.</param>
    /// <param name="configure">Sets the pool's options.</param>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(
        this IServiceCollection services, string name, Action<RmaMemoryPoolOptions> configure)
        where TProvider : class, IRmaProvider
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(configure);
        return Add<TProvider>(services, name, section: null).Configure(configure);
    }

    /// <summary>Adds a named pool, with options from the configuration.</summary>
    /// <inheritdoc cref="AddRmaMemoryPool{TProvider}(IServiceCollection, string)"/>
    /// <param name="services">Where to add it.</param>
    /// <param name="name">The pool's name: the key of its services, the name of its options, and its name in logs, metrics and errors.</param>
    /// <param name="section">
    /// The pool's options, by the names of <see cref="RmaMemoryPoolOptions"/>; those of the provider are in its
    /// subsection <c>Provider</c>, or the one that the provider's descriptor names. A provider without a descriptor has its
    /// options bound by the builder's <c>ConfigureProvider</c>.
    /// Sizes are numbers of bytes or <c>"64 KiB"</c>. Any other key fails the start, unless the section has
    /// <c>"AllowUnknownKeys": true</c>.
    /// </param>
    public static IRmaMemoryPoolBuilder AddRmaMemoryPool<[DynamicallyAccessedMembers(Constructors)] TProvider>(
        this IServiceCollection services, string name, IConfigurationSection section)
        where TProvider : class, IRmaProvider
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(section);
        return Add<TProvider>(services, name, section);
    }

    private static RmaMemoryPoolBuilder Add<[DynamicallyAccessedMembers(Constructors)] TProvider>(
        IServiceCollection services, string name, IConfigurationSection? section)
        where TProvider : class, IRmaProvider
    {
        ArgumentNullException.ThrowIfNull(services);
        var registration = new PoolRegistration(new PoolKey(name), typeof(TProvider), TProvider.Descriptor, section);
        registration.AddTo(services);
        services.AddLogging();
        services.AddMetrics();
        services.TryAddSingleton<RmaMetrics>();
        PoolOptions.Add(services, registration);
        PoolFactory.Add<TProvider>(services, registration);
        return new RmaMemoryPoolBuilder(services, registration);
    }
}
