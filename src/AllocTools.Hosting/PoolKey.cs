using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>
/// The name under which a pool's services and options are found. The unnamed pool's services have no key, so that they also
/// work in containers without keyed services.
/// </summary>
/// <remarks>
/// A pool that is added with the name <see cref="RmaMemoryPoolName.Default"/> is the unnamed one: its services are
/// found both without a key and with that key, and its options under both names.
/// </remarks>
/// <param name="Name">The name under which the pool was added, or <see cref="Options.DefaultName"/>.</param>
internal sealed record PoolKey(string Name)
{
    /// <summary>Whether this is the unnamed pool.</summary>
    public bool IsDefault => IsNameOfDefault(Name);

    /// <summary>The name of the pool in logs, metrics and errors.</summary>
    public string DisplayName => IsDefault ? RmaMemoryPoolName.Default : Name;

    /// <summary>The names under which its options can be requested.</summary>
    public IReadOnlyList<string> OptionsNames => IsDefault ? [Options.DefaultName, RmaMemoryPoolName.Default] : [Name];

    public static bool IsNameOfDefault(string name) => name == Options.DefaultName || name == RmaMemoryPoolName.Default;

    public void AddSingleton<TService>(IServiceCollection services, Func<IServiceProvider, TService> factory)
        where TService : class => AddSingleton(services, typeof(TService), factory);

    /// <param name="services">Where to add it.</param>
    /// <param name="type">The service type.</param>
    /// <param name="factory">Creates or finds the service.</param>
    public void AddSingleton(IServiceCollection services, Type type, Func<IServiceProvider, object> factory)
    {
        if (IsDefault)
            services.AddSingleton(type, factory);
        if (Name == RmaMemoryPoolName.Default)
            services.AddKeyedSingleton(type, Name, (provider, _) => provider.GetRequiredService(type));
        else if (!IsDefault)
            services.AddKeyedSingleton(type, Name, (provider, _) => factory(provider));
    }

    public TService Resolve<TService>(IServiceProvider services)
        where TService : class =>
        IsDefault ? services.GetRequiredService<TService>() : services.GetRequiredKeyedService<TService>(Name);
}
