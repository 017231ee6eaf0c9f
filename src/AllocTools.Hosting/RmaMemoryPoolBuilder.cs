using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Adds options under the pool's name.</summary>
internal sealed class RmaMemoryPoolBuilder(IServiceCollection services, PoolRegistration registration) : IRmaMemoryPoolBuilder
{
    public const string BindsByReflection =
        "The options are bound by reflection. Give the provider a descriptor, which binds them without reflection, or set them in ConfigureProvider(Action<TOptions>).";

    public string Name => registration.Key.Name;

    public IServiceCollection Services => services;

    public IRmaMemoryPoolBuilder Configure(Action<RmaMemoryPoolOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        services.Configure(registration.Key.Name, configure);
        return this;
    }

    public IRmaMemoryPoolBuilder ConfigureProvider<TOptions>(Action<TOptions> configure)
        where TOptions : class
    {
        ArgumentNullException.ThrowIfNull(configure);
        services.Configure(registration.Key.Name, configure);
        return this;
    }

    public IRmaMemoryPoolBuilder RequireSection()
    {
        if (registration.Section is not { } section)
            throw new InvalidOperationException($"The pool '{registration.Key.DisplayName}' was added without a configuration section, so there is none to require. Pass a section to AddRmaMemoryPool.");
        services.AddSingleton<IValidateOptions<RmaMemoryPoolOptions>>(new ValidateOptions<RmaMemoryPoolOptions>(
            registration.Key.Name,
            _ => section.Exists(),
            $"The section '{section.Path}' of pool '{registration.Key.DisplayName}' is required, but is empty or missing. Check that the file with it is deployed, and the spelling of the path."));
        return this;
    }

    public IRmaMemoryPoolBuilder ShareProviderOf(string poolName)
    {
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        registration.SharesWith = new PoolKey(poolName);
        return this;
    }

    [RequiresUnreferencedCode(BindsByReflection)]
    [RequiresDynamicCode(BindsByReflection)]
    public IRmaMemoryPoolBuilder ConfigureProvider<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.All)] TOptions>(IConfigurationSection section)
        where TOptions : class
    {
        ArgumentNullException.ThrowIfNull(section);
        // This is Configure<TOptions>(name, section) written out, because the binding generator can't follow a type parameter.
        services.AddOptions();
        services.AddSingleton<IOptionsChangeTokenSource<TOptions>>(new ConfigurationChangeTokenSource<TOptions>(registration.Key.Name, section));
        services.AddSingleton<IConfigureOptions<TOptions>>(new NamedConfigureFromConfigurationOptions<TOptions>(registration.Key.Name, section));
        return this;
    }

    [RequiresUnreferencedCode(BindsByReflection)]
    [RequiresDynamicCode(BindsByReflection)]
    public IRmaMemoryPoolBuilder ConfigureProvider<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.All)] TOptions>()
        where TOptions : class
    {
        if (registration.ProviderSection is not { } section)
        {
            throw new InvalidOperationException(
                $"The pool '{registration.Key.DisplayName}' was added without a configuration section, so there is no subsection '{registration.ProviderSectionName}' to bind {typeof(TOptions).Name} to. "
                + "Pass a section to AddRmaMemoryPool, or to ConfigureProvider.");
        }
        return ConfigureProvider<TOptions>(section);
    }
}
