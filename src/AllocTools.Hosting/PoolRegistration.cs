using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>A pool that was added to a service collection.</summary>
/// <param name="key">Its name.</param>
/// <param name="provider">The type of its provider.</param>
/// <param name="descriptor">The provider's descriptor of its options; may be null.</param>
/// <param name="section">The section with its options; null if they are set only in code.</param>
internal sealed class PoolRegistration(PoolKey key, Type provider, RmaProviderDescriptor? descriptor, IConfigurationSection? section)
{
    /// <summary>Its name.</summary>
    public PoolKey Key => key;

    /// <summary>The type of its provider.</summary>
    public Type Provider => provider;

    /// <summary>The provider's descriptor of its options; may be null.</summary>
    public RmaProviderDescriptor? Descriptor => descriptor;

    /// <summary>The section with its options; null if they are set only in code.</summary>
    public IConfigurationSection? Section => section;

    /// <summary>The name of the subsection with the options of its provider.</summary>
    public string ProviderSectionName => descriptor?.SectionName ?? RmaProviderDescriptor.DefaultSectionName;

    /// <summary>The section with the options of its provider; null if they are set only in code.</summary>
    public IConfigurationSection? ProviderSection => section?.GetSection(ProviderSectionName);

    /// <summary>The pool whose provider this one uses; null if it uses its own.</summary>
    public PoolKey? SharesWith { get; set; }

    /// <summary>Whether its memory consists of pinned arrays, because its consumer accepts only arrays.</summary>
    public bool IsOfArrays { get; set; }

    /// <summary>A description of where the pool's options are set, for people.</summary>
    public string Place => Section is null ? "options in code" : $"section '{Section.Path}'";

    /// <summary>The prefix of an option's name in an error: the section's path, or the pool's name.</summary>
    public string Origin => Section is null ? $"Pool '{Key.DisplayName}': " : Section.Path + ConfigurationPath.KeyDelimiter;

    /// <summary>The failures of a validation by the pool itself, with the place of each option.</summary>
    public RmaOptionsValidationException WithOrigin(OptionsValidationException error) =>
        new(error.OptionsName, error.OptionsType, error.Failures.Select(f => Origin + f));

    /// <exception cref="InvalidOperationException">A pool of that name already exists.</exception>
    public void AddTo(IServiceCollection services)
    {
        // The unnamed pool and "default" are the same, because logs and metrics could not distinguish them.
        if (services.Any(d => d.ImplementationInstance is PoolRegistration other && other.Key.DisplayName == Key.DisplayName))
        {
            throw new InvalidOperationException(
                $"A pool '{Key.DisplayName}' was already added. Give each pool a name of its own: AddRmaMemoryPool<TProvider>(\"name\", ...)"
                + (Key.DisplayName == RmaMemoryPoolName.Default ? $"; the unnamed pool is called '{RmaMemoryPoolName.Default}'." : "."));
        }
        services.AddSingleton(this);
    }

    /// <summary>The pool that opens the provider that this pool uses: itself or another pool.</summary>
    /// <exception cref="InvalidOperationException">There is no such pool, it has a different provider type, or the
    /// pools form a cycle.</exception>
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
                throw new InvalidOperationException($"{sharing}, which leads back to this pool. One pool of that cycle must have a provider of its own.");
        }
        return owner;
    }
}
