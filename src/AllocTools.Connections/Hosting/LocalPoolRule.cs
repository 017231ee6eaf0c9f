using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Hosting;

/// <summary>The pool of local connections has connections, is another one, and has no local pool itself.</summary>
/// <param name="services">What was added.</param>
/// <param name="container">What was made of it.</param>
/// <param name="poolName">The pool whose options they are.</param>
internal sealed class LocalPoolRule(IServiceCollection services, IServiceProvider container, string poolName) : IValidateOptions<RmaConnectionOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaConnectionOptions options)
    {
        if (options.LocalPool is not { Length: > 0 } local)
            return ValidateOptionsResult.Success;
        if (local == poolName)
            return ValidateOptionsResult.Fail($"LocalPool is '{local}', which is the pool itself; name another one, such as one over shm.");
        if (!services.Any(d => d.IsKeyedService && d.ServiceType == typeof(RmaConnections) && Equals(d.ServiceKey, local)))
            return ValidateOptionsResult.Fail($"LocalPool is '{local}', but no connections were added over a pool of that name: AddRmaConnections(\"{local}\").");
        return LocalPoolOf(local) is { Length: > 0 } further
            ? ValidateOptionsResult.Fail($"LocalPool is '{local}', whose own connections have the LocalPool '{further}', which is never used; leave that out.")
            : ValidateOptionsResult.Success;
    }

    /// <summary>What was set, without its validation, which might come back to this one.</summary>
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
