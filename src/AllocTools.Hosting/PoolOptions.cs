using System.Diagnostics.CodeAnalysis;
using AllocTools.Hosting.Configuration;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Registers a pool's options and those of this library's providers: binding, rules, validation at the start.</summary>
internal static class PoolOptions
{
    public static void Add(IServiceCollection services, PoolKey key, Type provider, IConfigurationSection? section)
    {
        string origin = section is null ? $"Pool '{key.DisplayName}': " : section.Path + ConfigurationPath.KeyDelimiter;
        AddRules(services, key, origin, new RmaMemoryPoolOptionsValidator());
        if (provider == typeof(LibfabricProvider))
            AddRules(services, key, origin + RmaMemoryPoolBuilder.ProviderSection + ConfigurationPath.KeyDelimiter, new LibfabricOptionsValidator());
        if (section is not null)
            Bind(services, key, provider, section);
    }

    /// <remarks>Each call binds a type by name, since the source-generated binder replaces only such calls.</remarks>
    private static void Bind(IServiceCollection services, PoolKey key, Type provider, IConfigurationSection section)
    {
        IConfigurationSection relaxed = section.GetSection(OptionKeys.AllowUnknownKeys);
        AddSection<RmaMemoryPoolOptions>(new(
            key.Name, section, OptionKeys.Pool, [RmaMemoryPoolBuilder.ProviderSection], relaxed, (values, options) => values.Bind(options)), section);
        IConfigurationSection providerSection = section.GetSection(RmaMemoryPoolBuilder.ProviderSection);
        // An application may choose the provider when it runs, over one section: what the other one knows is no typo.
        if (provider == typeof(LibfabricProvider))
            AddSection<LibfabricOptions>(new(key.Name, providerSection, OptionKeys.Libfabric, OptionKeys.NamesOf(OptionKeys.Host), relaxed, (values, options) => values.Bind(options)), providerSection);
        else if (provider == typeof(HostProvider))
            AddSection<HostProviderOptions>(new(key.Name, providerSection, OptionKeys.Host, OptionKeys.NamesOf(OptionKeys.Libfabric), relaxed, (values, options) => values.Bind(options)), providerSection);

        void AddSection<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
            SectionOptions<TOptions> options, IConfigurationSection bound)
            where TOptions : class
        {
            services.AddOptionsWithValidateOnStart<TOptions>(key.Name);
            services.AddSingleton<IOptionsChangeTokenSource<TOptions>>(new ConfigurationChangeTokenSource<TOptions>(key.Name, bound));
            services.AddSingleton<IConfigureOptions<TOptions>>(options);
            services.AddSingleton<IValidateOptions<TOptions>>(options);
        }
    }

    private static void AddRules<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, PoolKey key, string origin, IValidateOptions<TOptions> rules)
        where TOptions : class
    {
        services.AddOptionsWithValidateOnStart<TOptions>(key.Name);
        services.AddSingleton<IValidateOptions<TOptions>>(new NamedOptionsValidator<TOptions>(key.Name, origin, rules));
    }
}
