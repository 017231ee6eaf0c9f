using System.Diagnostics.CodeAnalysis;
using AllocTools.Blocks;
using AllocTools.Caching;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Hosting.Configuration;
using AllocTools.Regions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Registers one pool's services.</summary>
/// <remarks>
/// Each is a singleton of the container, made when it is first asked for. A container disposes in the reverse order of
/// making, so the order of the requests in these factories is the order of teardown, backwards: the provider and the
/// place in the metrics, the pool, the endpoint. Normally <see cref="RmaMemoryPoolService{TProvider}"/> has closed all
/// of it before, after a drain; disposing again does nothing.
/// </remarks>
internal static class PoolFactory
{
    public static void Add<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TProvider>(
        IServiceCollection services, PoolRegistration registration)
        where TProvider : class, IRmaProvider
    {
        PoolKey key = registration.Key;
        // Asked for by those pools only that use it.
        key.AddSingleton(services, sp => OpenedProvider.Open(CreateProvider<TProvider>(sp, registration), key.DisplayName, LoggerOf(sp)));
        key.AddSingleton(services, sp => new PoolProvider(
            registration.FindProviderOwner(sp).Key.Resolve<OpenedProvider>(sp), key.DisplayName, sp.GetRequiredService<RmaMetrics>(), LoggerOf(sp)));
        key.AddSingleton(services, sp => new PublishedPool(sp.GetRequiredService<RmaMetrics>(), LoggerOf(sp)));
        key.AddSingleton(services, _ => new PoolWarmUpState());
        services.TryAddSingleton(sp => new ConfigurationFiles(sp.GetService<IConfiguration>(), LoggerOf(sp)));
        key.AddSingleton(services, sp => CreatePool<TProvider>(sp, registration));
        key.AddSingleton<IRmaMemoryPool>(services, key.Resolve<RmaMemoryPool<TProvider>>);
        key.AddSingleton(services, sp => OpenEndpoint(sp, registration));
        key.AddSingleton(services, sp => new RmaRegistrationCache(key.Resolve<RmaMemoryPool<TProvider>>(sp)));
        if (registration.Descriptor?.EndpointType is { } endpointType)
            key.AddSingleton(services, endpointType, sp => EndpointOf(endpointType, sp, registration));
        // Not AddHostedService: it would take the second pool on the same provider for the first.
        services.AddSingleton<IHostedService>(sp => new RmaMemoryPoolService<TProvider>(sp, registration, LoggerOf(sp)));
    }

    private static IRmaProvider CreateProvider<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TProvider>(
        IServiceProvider services, PoolRegistration registration)
        where TProvider : class, IRmaProvider =>
        registration.Descriptor?.Create(services, registration.Key.Name) ?? ProviderActivator.Create<TProvider>(services, registration.Key);

    private static RmaMemoryPool<TProvider> CreatePool<TProvider>(IServiceProvider services, PoolRegistration registration)
        where TProvider : class, IRmaProvider
    {
        PoolKey key = registration.Key;
        // Before anything is opened: a service that asks for a pool in its constructor gets here before the host validates.
        PoolOptions.ThrowIfAnyIsInvalid(services);
        RmaMemoryPoolOptions options = services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>().Get(key.Name);
        PublishedPool published = key.Resolve<PublishedPool>(services);
        try
        {
            IRmaContext context = key.Resolve<PoolProvider>(services).Context;
            var pool = new RmaMemoryPool<TProvider>(
                context,
                options,
                key.DisplayName,
                services.GetRequiredService<ILoggerFactory>(),
                registration.IsOfArrays ? new PinnedArrayAllocator() : services.GetService<IBlockAllocator>(),
                services.GetService<TimeProvider>());
            published.Publish(pool);
            PoolOptions.Show(services, key, pool.Options);
            return pool;
        }
        catch (OptionsValidationException e)
        {
            // What only the opened provider could tell.
            throw registration.WithOrigin(e);
        }
        catch (Exception e) when (e is not ObjectDisposedException)
        {
            throw new RmaPoolStartException(registration, "can't start", e, LoggerOf(services));
        }
    }

    private static IRmaEndpoint OpenEndpoint(IServiceProvider services, PoolRegistration registration)
    {
        registration.Key.Resolve<IRmaMemoryPool>(services);
        try
        {
            return registration.Key.Resolve<PoolProvider>(services).OpenEndpoint();
        }
        catch (Exception e) when (e is not ObjectDisposedException)
        {
            throw new RmaPoolStartException(registration, "can't open its endpoint", e, LoggerOf(services));
        }
    }

    private static IRmaEndpoint EndpointOf(Type type, IServiceProvider services, PoolRegistration registration)
    {
        IRmaEndpoint endpoint = registration.Key.Resolve<IRmaEndpoint>(services);
        return type.IsInstanceOfType(endpoint)
            ? endpoint
            : throw new InvalidOperationException($"The endpoint of pool '{registration.Key.DisplayName}' is a {endpoint.GetType()}, but the descriptor of {registration.Provider.Name} says that it is a {type}.");
    }

    private static ILogger LoggerOf(IServiceProvider services) =>
        services.GetRequiredService<ILoggerFactory>().CreateLogger(HostingLog.Category);
}
