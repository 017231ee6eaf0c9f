using AllocTools;
using AllocTools.Connections;
using AllocTools.Connections.Hosting;
using AllocTools.Diagnostics;
using AllocTools.Hosting;
using AllocTools.Hosting.Configuration;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds connections over registered memory to an application.</summary>
public static class RmaConnectionsServiceCollectionExtensions
{
    /// <summary>Adds connections over the unnamed pool.</summary>
    /// <remarks>
    /// <para>
    /// Adds, as singletons: <see cref="RmaConnections"/>, <see cref="RmaConnectionFactory"/> and
    /// <see cref="RmaConnectionListenerFactory"/>. They are created when they are first requested, and closed after
    /// the hosted services have stopped. Kestrel uses them to listen after <c>builder.WebHost.UseRma()</c>.
    /// </para>
    /// <para>
    /// The options are bound to the subsection <c>Connections</c> of the section with which the pool was added, such
    /// as <c>AllocTools:Connections</c>; options in code override it. RemoteWrite is added to the pool's option
    /// Access.
    /// </para>
    /// </remarks>
    /// <param name="services">Where to add them, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="configure">Sets options; null for none.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">The pool has not been added.</exception>
    public static IServiceCollection AddRmaConnections(this IServiceCollection services, Action<RmaConnectionOptions>? configure = null) =>
        Add(services, RmaMemoryPoolName.Default, configure);

    /// <summary>Adds connections over a named pool as keyed services, whose key is the pool's name.</summary>
    /// <inheritdoc cref="AddRmaConnections(IServiceCollection, Action{RmaConnectionOptions})"/>
    /// <param name="services">Where to add them, after <c>AddRmaMemoryPool</c>.</param>
    /// <param name="poolName">The pool's name.</param>
    /// <param name="configure">Sets options; null for none.</param>
    public static IServiceCollection AddRmaConnections(this IServiceCollection services, string poolName, Action<RmaConnectionOptions>? configure = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        return Add(services, poolName, configure);
    }

    private static IServiceCollection Add(IServiceCollection services, string poolName, Action<RmaConnectionOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        PoolRegistration pool = services.Select(d => d.IsKeyedService ? null : d.ImplementationInstance).OfType<PoolRegistration>().FirstOrDefault(p => p.Key.DisplayName == poolName)
            ?? throw new InvalidOperationException($"There is no pool '{poolName}' yet. Add it before its connections: AddRmaMemoryPool<TProvider>(…).");
        if (services.Any(d => d.IsKeyedService && d.ServiceType == typeof(RmaConnections) && Equals(d.ServiceKey, poolName)))
        {
            // Several parts of an application may request the same connections.
            if (configure is not null)
                services.Configure(poolName, configure);
            return services;
        }
        AddOptions(services, pool, poolName);
        if (configure is not null)
            services.Configure(poolName, configure);
        services.AddOptions<RmaMemoryPoolOptions>(pool.Key.Name).PostConfigure(static o => o.Access |= RmaAccess.RemoteWrite);
        services.AddKeyedSingleton(poolName, static (sp, key) => new RmaConnectionListenerFactory(sp.GetRequiredKeyedService<RmaConnections>(key)));
        AddConnections(services, pool, poolName);
        return services;
    }

    private static void AddOptions(IServiceCollection services, PoolRegistration pool, string poolName)
    {
        PoolOptions.AddOther<RmaConnectionOptions>(services, poolName);
        IConfigurationSection? section = pool.Section?.GetSection(ConnectionOptionKeys.SectionName);
        string origin = section is null ? $"Connections of pool '{poolName}': " : section.Path + ConfigurationPath.KeyDelimiter;
        services.AddSingleton<IValidateOptions<RmaConnectionOptions>>(new NamedOptionsValidator<RmaConnectionOptions>(poolName, origin, new RmaConnectionOptionsValidator()));
        services.AddSingleton<IValidateOptions<RmaConnectionOptions>>(sp => new NamedOptionsValidator<RmaConnectionOptions>(poolName, origin, new LocalPoolRule(services, sp, poolName)));
        if (section is null)
            return;
        var bound = new SectionOptions<RmaConnectionOptions>(poolName, section, ConnectionOptionKeys.All, [], PoolOptions.AllowsUnknownKeys(pool.Section!));
        services.AddSingleton(new SectionOfOthers(section.Path));
        services.AddSingleton<IConfigureOptions<RmaConnectionOptions>>(bound);
        services.AddSingleton<IValidateOptions<RmaConnectionOptions>>(bound);
    }

    private static void AddConnections(IServiceCollection services, PoolRegistration pool, string poolName)
    {
        services.AddKeyedSingleton<ConnectionsService.State>(poolName);
        services.TryAddSingleton<RmaConnectionMetrics>();
        services.AddKeyedSingleton(poolName, (sp, _) =>
        {
            IRmaMemoryPool memory = pool.Key.Resolve<IRmaMemoryPool>(sp);
            RmaConnectionOptions options = sp.GetRequiredService<IOptionsMonitor<RmaConnectionOptions>>().Get(poolName);
            var connections = new RmaConnections(
                memory,
                options,
                sp.GetRequiredService<ILoggerFactory>(),
                sp.GetService<TimeProvider>(),
                options.LocalPool is { Length: > 0 } local ? sp.GetRequiredKeyedService<RmaConnections>(local) : null);
            sp.GetRequiredService<RmaMetrics>().Add(connections.Endpoint, memory.Name);
            sp.GetRequiredService<RmaConnectionMetrics>().Add(connections);
            sp.GetRequiredKeyedService<ConnectionsService.State>(poolName).IsOpen = true;
            return connections;
        });
        services.AddKeyedSingleton(poolName, static (sp, key) => new RmaConnectionFactory(sp.GetRequiredKeyedService<RmaConnections>(key)));
        services.AddSingleton<IHostedService>(sp => new ConnectionsService(sp, sp.GetRequiredKeyedService<ConnectionsService.State>(poolName), poolName));
        if (!pool.Key.IsDefault)
            return;
        services.AddSingleton(sp => sp.GetRequiredKeyedService<RmaConnections>(poolName));
        services.AddSingleton(sp => sp.GetRequiredKeyedService<RmaConnectionFactory>(poolName));
        services.AddSingleton(sp => sp.GetRequiredKeyedService<RmaConnectionListenerFactory>(poolName));
    }
}
