using AllocTools;
using AllocTools.Endpoints;
using AllocTools.Hosting;
using AllocTools.Hosting.Configuration;
using AllocTools.MultiRail;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds multi-rails to an application: several pools, each on its own link, that reach the same peers.</summary>
public static class RmaMultiRailServiceCollectionExtensions
{
    /// <summary>
    /// Adds the unnamed multi-rail, a singleton. It is created when it is first requested, and closed when the host
    /// stops, before the first of its pools.
    /// </summary>
    /// <param name="services">Where to add it. The pools of its rails are added with <c>AddRmaMemoryPool</c>, before or after it; their option Access must include RemoteRead.</param>
    /// <param name="section">The section with its options (<see cref="RmaMultiRailOptions"/>), which names the rails and their pools.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">It was already added.</exception>
    public static IServiceCollection AddRmaMultiRail(this IServiceCollection services, IConfigurationSection section) =>
        Add(services, RmaMemoryPoolName.Default, section);

    /// <summary>Adds a named multi-rail: a keyed singleton, whose key is the name.</summary>
    /// <inheritdoc cref="AddRmaMultiRail(IServiceCollection, IConfigurationSection)"/>
    /// <param name="services">Where to add it.</param>
    /// <param name="name">The name.</param>
    /// <param name="section">The section with its options.</param>
    public static IServiceCollection AddRmaMultiRail(this IServiceCollection services, string name, IConfigurationSection section)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return Add(services, name, section);
    }

    private static IServiceCollection Add(IServiceCollection services, string name, IConfigurationSection section)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(section);
        if (services.Any(d => d.IsKeyedService && d.ServiceType == typeof(RmaMultiRail) && Equals(d.ServiceKey, name)))
            throw new InvalidOperationException($"A multi-rail '{name}' was already added. Give each a name of its own: AddRmaMultiRail(\"name\", section).");
        PoolOptions.AddOther<RmaMultiRailOptions>(services, name);
        string origin = section.Path + ConfigurationPath.KeyDelimiter;
        services.AddSingleton<IValidateOptions<RmaMultiRailOptions>>(new NamedOptionsValidator<RmaMultiRailOptions>(name, origin, new RmaMultiRailOptionsValidator()));
        services.AddSingleton<IValidateOptions<RmaMultiRailOptions>>(sp => new NamedOptionsValidator<RmaMultiRailOptions>(name, origin, new RailsRule(sp)));
        var bound = new SectionOptions<RmaMultiRailOptions>(name, section, MultiRailOptionKeys.All, [], section);
        services.AddSingleton(new SectionOfOthers(section.Path));
        services.AddSingleton<IConfigureOptions<RmaMultiRailOptions>>(bound);
        services.AddSingleton<IValidateOptions<RmaMultiRailOptions>>(bound);
        services.TryAddSingleton<RmaMultiRailMetrics>();
        services.TryAddSingleton<OpenMultiRails>();
        services.AddKeyedSingleton(name, static (sp, key) => Open(sp, (string)key!));
        if (name == RmaMemoryPoolName.Default)
            services.AddSingleton(sp => sp.GetRequiredKeyedService<RmaMultiRail>(name));
        return services;
    }

    private static RmaMultiRail Open(IServiceProvider services, string name)
    {
        RmaMultiRailOptions options = services.GetRequiredService<IOptionsMonitor<RmaMultiRailOptions>>().Get(name);
        RmaRail[] rails =
        [
            .. from rail in options.Rails
               let pool = services.GetServices<PoolRegistration>().First(p => p.Key.DisplayName == rail.Pool).Key
               select new RmaRail(rail.Name!, pool.Resolve<IRmaMemoryPool>(services), pool.Resolve<IRmaEndpoint>(services)),
        ];
        var multi = new RmaMultiRail(rails, options, name, services.GetRequiredService<ILoggerFactory>().CreateLogger<RmaMultiRail>(), services.GetService<TimeProvider>());
        services.GetRequiredService<OpenMultiRails>().Add(multi);
        return multi;
    }

    /// <summary>Checks that rails have distinct names, and pools that were added.</summary>
    private sealed class RailsRule(IServiceProvider services) : IValidateOptions<RmaMultiRailOptions>
    {
        public ValidateOptionsResult Validate(string? name, RmaMultiRailOptions options)
        {
            List<string> failures = [.. RmaMultiRailOptionsValidator.FailuresOf([.. options.Rails.Select(static r => r.Name)])];
            string[] pools = [.. services.GetServices<PoolRegistration>().Select(static p => p.Key.DisplayName)];
            for (int i = 0; i < options.Rails.Count; i++)
            {
                if (!pools.Contains(options.Rails[i].Pool))
                    failures.Add($"Rails:{i}:Pool is '{options.Rails[i].Pool}', but no pool of that name was added. The pools are {string.Join(", ", pools.Select(static p => $"'{p}'"))}.");
            }
            return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
        }
    }
}
