using System.Diagnostics.CodeAnalysis;
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

    /// <remarks>Each call names its type, since the source-generated binder replaces only such calls.</remarks>
    private static void Bind(IServiceCollection services, PoolKey key, Type provider, IConfigurationSection section)
    {
        services.Configure<RmaMemoryPoolOptions>(key.Name, section);
        IConfigurationSection providerSection = section.GetSection(RmaMemoryPoolBuilder.ProviderSection);
        if (provider == typeof(LibfabricProvider))
            services.Configure<LibfabricOptions>(key.Name, providerSection);
        else if (provider == typeof(HostProvider))
            services.Configure<HostProviderOptions>(key.Name, providerSection);
    }

    private static void AddRules<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, PoolKey key, string origin, IValidateOptions<TOptions> rules)
        where TOptions : class
    {
        services.AddOptionsWithValidateOnStart<TOptions>(key.Name);
        services.AddSingleton<IValidateOptions<TOptions>>(new NamedOptionsValidator<TOptions>(key.Name, origin, rules));
    }
}
