using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting;

/// <summary>Marks in a service collection that a pool was added, so that a second one of its name is refused.</summary>
/// <param name="DisplayName">Unnamed and <c>default</c> are the same: logs and metrics could not tell them apart.</param>
internal sealed record PoolRegistration(string DisplayName)
{
    /// <exception cref="InvalidOperationException">There is one of that name.</exception>
    public static void Add(IServiceCollection services, PoolKey key)
    {
        var registration = new PoolRegistration(key.DisplayName);
        if (services.Any(d => d.ServiceType == typeof(PoolRegistration) && registration.Equals(d.ImplementationInstance)))
        {
            throw new InvalidOperationException(
                $"A pool '{key.DisplayName}' was added before. Give each pool a name of its own: AddRmaMemoryPool<TProvider>(\"name\", ...)"
                + (key.DisplayName == RmaMemoryPoolName.Default ? $"; '{RmaMemoryPoolName.Default}' is what the unnamed pool is called." : "."));
        }
        services.AddSingleton(registration);
    }
}
