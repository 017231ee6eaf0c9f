using System.Diagnostics.CodeAnalysis;
using AllocTools.Hosting.Configuration;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Registers a pool's options and those of this library's providers: binding, rules, validation at the start.</summary>
internal static class PoolOptions
{
    public static void Add(IServiceCollection services, PoolRegistration registration)
    {
        services.AddOptionsWithValidateOnStart<OptionsOfAllPools>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<OptionsOfAllPools>, OptionsOfAllPools.Rule>());
        AddRules(services, registration, "", new RmaMemoryPoolOptionsValidator());
        services.AddSingleton<IValidateOptions<RmaMemoryPoolOptions>>(new SharedProviderRule(registration));
        const string ProviderPath = RmaMemoryPoolBuilder.ProviderSection + ":";
        if (registration.Provider == typeof(LibfabricProvider))
            AddRules(services, registration, ProviderPath, new LibfabricOptionsValidator());
        else if (registration.Provider == typeof(HostProvider))
            AddRules(services, registration, ProviderPath, new HostProviderOptionsValidator());
        if (registration.Section is { } section)
            Bind(services, registration, section);
    }

    /// <summary>Reads the options of all pools, and of the providers that they open.</summary>
    /// <exception cref="RmaOptionsValidationException">All that is wrong with any of them.</exception>
    public static void ThrowIfAnyIsInvalid(IServiceProvider services)
    {
        List<OptionsValidationException> errors = [];
        foreach (PoolRegistration registration in services.GetServices<PoolRegistration>())
        {
            Read<RmaMemoryPoolOptions>(registration);
            if (registration.Provider == typeof(LibfabricProvider))
                Read<LibfabricOptions>(registration);
            else if (registration.Provider == typeof(HostProvider))
                Read<HostProviderOptions>(registration);
        }
        if (errors.Count != 0)
            throw new RmaOptionsValidationException(errors[0].OptionsName, errors[0].OptionsType, errors.SelectMany(e => e.Failures));

        void Read<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(PoolRegistration registration)
            where TOptions : class
        {
            try
            {
                services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(registration.Key.Name);
            }
            catch (OptionsValidationException e)
            {
                errors.Add(e);
            }
        }
    }

    /// <summary>Has monitors show what is in force.</summary>
    public static void Show(IServiceProvider services, PoolKey key, RmaMemoryPoolOptions options)
    {
        var cache = services.GetRequiredService<IOptionsMonitorCache<RmaMemoryPoolOptions>>();
        foreach (string name in key.OptionsNames)
        {
            do
                cache.TryRemove(name);
            while (!cache.TryAdd(name, options));
        }
    }

    /// <remarks>Each call binds a type by name, since the source-generated binder replaces only such calls.</remarks>
    private static void Bind(IServiceCollection services, PoolRegistration registration, IConfigurationSection section)
    {
        string name = registration.Key.Name;
        registration.Key.AddSingleton(services, _ => new SectionAtStart(registration));
        IConfigurationSection relaxed = section.GetSection(OptionKeys.AllowUnknownKeys);
        AddSection<RmaMemoryPoolOptions>(sp => new(
            name, section, OptionKeys.Pool, [RmaMemoryPoolBuilder.ProviderSection, .. PoolsBelow(sp, section)], relaxed, (values, options) =>
            {
                registration.Key.Resolve<SectionAtStart>(sp).NoteBound();
                values.Bind(options);
            }));
        IConfigurationSection provider = section.GetSection(RmaMemoryPoolBuilder.ProviderSection);
        // An application may choose the provider when it runs, over one section: what the other one knows is no typo.
        if (registration.Provider == typeof(LibfabricProvider))
            AddSection<LibfabricOptions>(_ => new(name, provider, OptionKeys.Libfabric, OptionKeys.NamesOf(OptionKeys.Host), relaxed, (values, options) => values.Bind(options)));
        else if (registration.Provider == typeof(HostProvider))
            AddSection<HostProviderOptions>(_ => new(name, provider, OptionKeys.Host, OptionKeys.NamesOf(OptionKeys.Libfabric), relaxed, (values, options) => values.Bind(options)));

        void AddSection<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
            Func<IServiceProvider, SectionOptions<TOptions>> options)
            where TOptions : class
        {
            services.AddOptions<TOptions>(name);
            // No IOptionsChangeTokenSource: a monitor would throw from then on at a change that is invalid; see PoolReloader.
            services.AddSingleton<IConfigureOptions<TOptions>>(options);
            services.AddSingleton<IValidateOptions<TOptions>>(options);
        }
    }

    private static void AddRules<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, PoolRegistration registration, string path, IValidateOptions<TOptions> rules)
        where TOptions : class
    {
        services.AddOptions<TOptions>(registration.Key.Name);
        services.AddSingleton<IValidateOptions<TOptions>>(new NamedOptionsValidator<TOptions>(registration.Key.Name, registration.Origin + path, rules));
        if (registration.Key.IsDefault)
        {
            services.TryAddTransient<IOptionsFactory<TOptions>>(sp => new DefaultPoolOptionsFactory<TOptions>(
                registration.Key,
                sp.GetServices<IConfigureOptions<TOptions>>(),
                sp.GetServices<IPostConfigureOptions<TOptions>>(),
                sp.GetServices<IValidateOptions<TOptions>>()));
        }
    }

    /// <summary>The keys below a section that begin the way to another pool's.</summary>
    private static IEnumerable<string> PoolsBelow(IServiceProvider services, IConfigurationSection section)
    {
        string start = section.Path + ConfigurationPath.KeyDelimiter;
        return from pool in services.GetServices<PoolRegistration>()
               let path = pool.Section?.Path ?? ""
               where path.StartsWith(start, StringComparison.OrdinalIgnoreCase)
               select path[start.Length..].Split(ConfigurationPath.KeyDelimiter)[0];
    }

    /// <summary>Has the host validate the options of all pools together when it starts, before any hosted service: what is wrong is one exception.</summary>
    private sealed class OptionsOfAllPools
    {
        public sealed class Rule(IServiceProvider services) : IValidateOptions<OptionsOfAllPools>
        {
            public ValidateOptionsResult Validate(string? name, OptionsOfAllPools options)
            {
                ThrowIfAnyIsInvalid(services);
                return ValidateOptionsResult.Success;
            }
        }
    }
}
