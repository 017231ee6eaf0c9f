using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Hosting;

/// <summary>Checks that the pool of local connections has connections, is a different pool, and has no local pool itself.</summary>
/// <param name="services">The added services.</param>
/// <param name="container">The container that was built from them.</param>
/// <param name="poolName">The pool whose options they are.</param>
internal sealed class LocalPoolRule(IServiceCollection services, IServiceProvider container, string poolName) : IValidateOptions<RmaConnectionOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaConnectionOptions options)
    {
        if (options.LocalPool is not { Length: > 0 } local)
            return ValidateOptionsResult.Success;
        if (local == poolName)
            return ValidateOptionsResult.Fail($"LocalPool is '{local}', which is the pool itself; it must be another pool, such as one over shm.");
        if (!services.Any(d => d.IsKeyedService && d.ServiceType == typeof(RmaConnections) && Equals(d.ServiceKey, local)))
            return ValidateOptionsResult.Fail($"LocalPool is '{local}', but no connections were added over a pool of that name: AddRmaConnections(\"{local}\").");
        return LocalPoolOf(local) is { Length: > 0 } further
            ? ValidateOptionsResult.Fail($"LocalPool is '{local}', whose own connections have the LocalPool '{further}'; that one must not be set, because it would never be used.")
            : ValidateOptionsResult.Success;
    }

    /// <summary>The options are read without their validation, which might recurse into this one.</summary>
    private string? LocalPoolOf(string pool)
    {
        var options = new RmaConnectionOptions();
        foreach (IConfigureOptions<RmaConnectionOptions> setting in container.GetServices<IConfigureOptions<RmaConnectionOptions>>())
        {
            if (setting is IConfigureNamedOptions<RmaConnectionOptions> named)
                named.Configure(pool, options);
        }
        return options.LocalPool;
    }
}
