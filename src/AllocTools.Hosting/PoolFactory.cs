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
/// Each is a singleton of the container, created when it is first requested. A container disposes services in the
/// reverse order of their creation, so the order of the requests in these factories is the reverse order of teardown:
/// the provider and the place in the metrics, the pool, the endpoint. Normally
/// <see cref="RmaMemoryPoolService{TProvider}"/> has already closed all of it, after a drain; disposing again does
/// nothing.
/// </remarks>
internal static class PoolFactory
{
    public static void Add<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TProvider>(
        IServiceCollection services, PoolRegistration registration)
        where TProvider : class, IRmaProvider
    {
        PoolKey key = registration.Key;
        // Only the pools that use it request it.
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
        // AddHostedService is not used, because it would ignore the second pool on the same provider as a duplicate.
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
        // Validation comes before anything is opened: if a service requests a pool in its constructor, this code runs
        // before the host validates.
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
            // These are failures that only the open provider could report.
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
