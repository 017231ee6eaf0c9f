using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>A pool that was added to a service collection.</summary>
/// <param name="key">Its name.</param>
/// <param name="provider">The type of its provider.</param>
/// <param name="descriptor">What the provider says of its options; null: nothing.</param>
/// <param name="section">Where its options stand; null: in code alone.</param>
internal sealed class PoolRegistration(PoolKey key, Type provider, RmaProviderDescriptor? descriptor, IConfigurationSection? section)
{
    /// <summary>Its name.</summary>
    public PoolKey Key => key;

    /// <summary>The type of its provider.</summary>
    public Type Provider => provider;

    /// <summary>What the provider says of its options; null: nothing.</summary>
    public RmaProviderDescriptor? Descriptor => descriptor;

    /// <summary>Where its options stand; null: in code alone.</summary>
    public IConfigurationSection? Section => section;

    /// <summary>The name of the subsection with the options of its provider.</summary>
    public string ProviderSectionName => descriptor?.SectionName ?? RmaProviderDescriptor.DefaultSectionName;

    /// <summary>Where the options of its provider stand; null: in code alone.</summary>
    public IConfigurationSection? ProviderSection => section?.GetSection(ProviderSectionName);

    /// <summary>The pool whose provider this one uses; null: its own.</summary>
    public PoolKey? SharesWith { get; set; }

    /// <summary>Its memory is that of pinned arrays, since what takes it takes arrays alone.</summary>
    public bool IsOfArrays { get; set; }

    /// <summary>Where the pool's options stand, for people.</summary>
    public string Place => Section is null ? "options in code" : $"section '{Section.Path}'";

    /// <summary>What goes before the name of an option in an error: the section's path, or the pool's name.</summary>
    public string Origin => Section is null ? $"Pool '{Key.DisplayName}': " : Section.Path + ConfigurationPath.KeyDelimiter;

    /// <summary>The failures of a validation by the pool itself, with the place of each option.</summary>
    public RmaOptionsValidationException WithOrigin(OptionsValidationException error) =>
        new(error.OptionsName, error.OptionsType, error.Failures.Select(f => Origin + f));

    /// <exception cref="InvalidOperationException">There is one of that name.</exception>
    public void AddTo(IServiceCollection services)
    {
        // Unnamed and "default" are the same: logs and metrics could not tell them apart.
        if (services.Any(d => d.ImplementationInstance is PoolRegistration other && other.Key.DisplayName == Key.DisplayName))
        {
            throw new InvalidOperationException(
                $"A pool '{Key.DisplayName}' was added before. Give each pool a name of its own: AddRmaMemoryPool<TProvider>(\"name\", ...)"
                + (Key.DisplayName == RmaMemoryPoolName.Default ? $"; '{RmaMemoryPoolName.Default}' is what the unnamed pool is called." : "."));
        }
        services.AddSingleton(this);
    }

    /// <summary>Whose provider this pool uses: its own, or in the end another pool's.</summary>
    /// <exception cref="InvalidOperationException">There is no such pool, it has another provider, or they share in a circle.</exception>
    public PoolRegistration FindProviderOwner(IServiceProvider services)
    {
        PoolRegistration[] all = [.. services.GetServices<PoolRegistration>()];
        PoolRegistration owner = this;
        for (int steps = 0; owner.SharesWith is { } shared; steps++)
        {
            string sharing = $"The pool '{Key.DisplayName}' shares the provider of '{shared.DisplayName}'";
            owner = Array.Find(all, r => r.Key.DisplayName == shared.DisplayName)
                ?? throw new InvalidOperationException($"{sharing}, but no pool of that name was added. The pools are {string.Join(", ", all.Select(r => $"'{r.Key.DisplayName}'"))}.");
            if (owner.Provider != Provider)
                throw new InvalidOperationException($"{sharing}, whose provider is a {owner.Provider.Name}, while its own is a {Provider.Name}. Add both with the same provider.");
            if (steps == all.Length)
                throw new InvalidOperationException($"{sharing}, which in the end shares its own: one pool of that circle must have a provider of its own.");
        }
        return owner;
    }
}
