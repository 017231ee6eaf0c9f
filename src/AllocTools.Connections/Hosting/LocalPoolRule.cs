using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Hosting;

/// <summary>The pool of local connections has connections, and is another one.</summary>
/// <param name="services">What was added.</param>
/// <param name="poolName">The pool whose options they are.</param>
internal sealed class LocalPoolRule(IServiceCollection services, string poolName) : IValidateOptions<RmaConnectionOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaConnectionOptions options)
    {
        if (options.LocalPool is not { Length: > 0 } local)
            return ValidateOptionsResult.Success;
        if (local == poolName)
            return ValidateOptionsResult.Fail($"LocalPool is '{local}', which is the pool itself; name another one, such as one over shm.");
        return services.Any(d => d.IsKeyedService && d.ServiceType == typeof(RmaConnections) && Equals(d.ServiceKey, local))
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail($"LocalPool is '{local}', but no connections were added over a pool of that name: AddRmaConnections(\"{local}\").");
    }
}
