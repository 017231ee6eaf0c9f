using System.Diagnostics.CodeAnalysis;
using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Registers the options of a pool, and those that its provider describes: binding, rules, and validation at startup.</summary>
internal static class PoolOptions
{
    public static void Add(IServiceCollection services, PoolRegistration registration)
    {
        ValidateTogether(services);
        AddRules(services, registration, "", new RmaMemoryPoolOptionsValidator());
        services.AddSingleton<IValidateOptions<RmaMemoryPoolOptions>>(new SharedProviderRule(registration));
        registration.Descriptor?.Accept(new ProviderOptions(services, registration));
        if (registration.Section is { } section)
            Bind(services, registration, section);
    }

    /// <summary>
    /// Adds options of a component that uses pools, so that the host validates them at startup together with the
    /// options of the pools.
    /// </summary>
    /// <param name="services">Where to add them.</param>
    /// <param name="name">The name of the options.</param>
    public static void AddOther<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(IServiceCollection services, string name)
        where TOptions : class
    {
        ValidateTogether(services);
        services.AddOptions<TOptions>(name);
        services.AddSingleton(new OtherOptions(sp => sp.GetRequiredService<IOptionsMonitor<TOptions>>().Get(name)));
    }

    /// <summary>Reads the options of all pools, of the providers that they open, and of components that use them.</summary>
    /// <exception cref="RmaOptionsValidationException">Options are invalid; the exception lists all failures.</exception>
    public static void ThrowIfAnyIsInvalid(IServiceProvider services)
    {
        List<OptionsValidationException> errors = [];
        foreach (PoolRegistration registration in services.GetServices<PoolRegistration>())
        {
            var check = new OptionsCheck(services, registration.Key.Name, errors);
            check.Read<RmaMemoryPoolOptions>();
            registration.Descriptor?.Accept(check);
        }
        foreach (OtherOptions options in services.GetServices<OtherOptions>())
            Collect(errors, () => options.Read(services));
        if (errors.Count != 0)
            throw new RmaOptionsValidationException(errors[0].OptionsName, errors[0].OptionsType, errors.SelectMany(e => e.Failures));
    }

    /// <summary>Makes monitors show the options in force.</summary>
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

    private static void ValidateTogether(IServiceCollection services)
    {
        services.AddOptionsWithValidateOnStart<OptionsOfAllPools>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<OptionsOfAllPools>, OptionsOfAllPools.Rule>());
    }

    private static void Collect(List<OptionsValidationException> errors, Action read)
    {
        try
        {
            read();
        }
        catch (OptionsValidationException e)
        {
            errors.Add(e);
        }
    }

    private static void Bind(IServiceCollection services, PoolRegistration registration, IConfigurationSection section)
    {
        if (OptionKeys.Pool.FirstOrDefault(k => k.Name.Equals(registration.ProviderSectionName, StringComparison.OrdinalIgnoreCase)) is { } key)
            throw new InvalidOperationException($"{registration.Provider.Name} has its options in the subsection '{registration.ProviderSectionName}', but {key.Name} is an option of the pool. Its descriptor must name another section.");
        registration.Key.AddSingleton(services, _ => new SectionAtStart(registration));
        AddSection(services, registration.Key.Name, sp => new SectionOptions<RmaMemoryPoolOptions>(
            registration.Key.Name,
            section,
            OptionKeys.Pool,
            [registration.ProviderSectionName, .. PoolsBelow(sp, section)],
            AllowsUnknownKeys(section),
            bound: registration.Key.Resolve<SectionAtStart>(sp).NoteBound));
    }

    private static void AddSection<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, string name, Func<IServiceProvider, SectionOptions<TOptions>> options)
        where TOptions : class
    {
        services.AddOptions<TOptions>(name);
        // There is no IOptionsChangeTokenSource, because after an invalid change a monitor would keep throwing; see PoolReloader.
        services.AddSingleton<IConfigureOptions<TOptions>>(options);
        services.AddSingleton<IValidateOptions<TOptions>>(options);
    }

    internal static IConfigurationSection AllowsUnknownKeys(IConfigurationSection section) => section.GetSection(OptionKeys.AllowUnknownKeys);

    private static void AddRules<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, PoolRegistration registration, string path, IValidateOptions<TOptions>? rules)
        where TOptions : class
    {
        services.AddOptions<TOptions>(registration.Key.Name);
        if (rules is not null)
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

    /// <summary>The keys below a section that lead to the section of another pool, or to one that is read elsewhere.</summary>
    private static IEnumerable<string> PoolsBelow(IServiceProvider services, IConfigurationSection section)
    {
        string start = section.Path + ConfigurationPath.KeyDelimiter;
        return from path in services.GetServices<PoolRegistration>().Select(p => p.Section?.Path ?? "").Concat(services.GetServices<SectionOfOthers>().Select(s => s.Path))
               where path.StartsWith(start, StringComparison.OrdinalIgnoreCase)
               select path[start.Length..].Split(ConfigurationPath.KeyDelimiter)[0];
    }

    /// <summary>Registers the options that a provider describes.</summary>
    private sealed class ProviderOptions(IServiceCollection services, PoolRegistration registration) : IRmaProviderDescriptorVisitor
    {
        public void Visit<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(RmaProviderDescriptor<TOptions> descriptor)
            where TOptions : class
        {
            AddRules(services, registration, descriptor.SectionName + ConfigurationPath.KeyDelimiter, descriptor.Validator);
            if (registration is { Section: { } pool, ProviderSection: { } section })
            {
                AddSection(services, registration.Key.Name, _ => new SectionOptions<TOptions>(
                    registration.Key.Name, section, descriptor.Keys, descriptor.ForeignKeys, AllowsUnknownKeys(pool)));
            }
        }
    }

    /// <summary>Reads options, and collects their failures.</summary>
    private sealed class OptionsCheck(IServiceProvider services, string name, List<OptionsValidationException> errors) : IRmaProviderDescriptorVisitor
    {
        public void Visit<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(RmaProviderDescriptor<TOptions> descriptor)
            where TOptions : class => Read<TOptions>();

        public void Read<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>()
            where TOptions : class => Collect(errors, () => services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(name));
    }

    /// <summary>Options that don't belong to a pool.</summary>
    private sealed record OtherOptions(Action<IServiceProvider> Read);

    /// <summary>
    /// Makes the host validate the options of all pools, and of the components that use them, when it starts and before
    /// any hosted service: one exception reports all failures.
    /// </summary>
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

/// <summary>Checks that a pool that uses another pool's provider has no provider options.</summary>
internal sealed class SharedProviderRule(PoolRegistration registration) : IValidateOptions<RmaMemoryPoolOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaMemoryPoolOptions options)
    {
        if (name != registration.Key.Name || registration is not { SharesWith: { } other, ProviderSection: { } provider })
            return ValidateOptionsResult.Skip;
        return provider.Exists()
            ? ValidateOptionsResult.Fail($"{provider.Path} has options, but the pool uses the provider of the pool '{other.DisplayName}'. Set them there.")
            : ValidateOptionsResult.Success;
    }
}

/// <summary>A section within a pool's section with options of something else.</summary>
/// <param name="Path">Its path.</param>
internal sealed record SectionOfOthers(string Path);
