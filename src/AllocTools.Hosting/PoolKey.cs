using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>
/// Under which name a pool's services and options are found. The unnamed pool's services have no key, so that they also
/// work in containers without keyed services.
/// </summary>
/// <param name="Name">The pool's name, or <see cref="Options.DefaultName"/>.</param>
internal sealed record PoolKey(string Name)
{
    /// <summary>The key of the pool that logs, metrics and errors call by that name.</summary>
    public static PoolKey OfDisplayName(string name) => new(name == RmaMemoryPoolName.Default ? Options.DefaultName : name);

    private bool IsUnnamed => Name == Options.DefaultName;

    /// <summary>What the pool is called in logs, metrics and errors.</summary>
    public string DisplayName => IsUnnamed ? RmaMemoryPoolName.Default : Name;

    public void AddSingleton<TService>(IServiceCollection services, Func<IServiceProvider, TService> factory)
        where TService : class
    {
        if (IsUnnamed)
            services.AddSingleton(factory);
        else
            services.AddKeyedSingleton(Name, (provider, _) => factory(provider));
    }

    public TService Resolve<TService>(IServiceProvider services)
        where TService : class =>
        IsUnnamed ? services.GetRequiredService<TService>() : services.GetRequiredKeyedService<TService>(Name);
}
