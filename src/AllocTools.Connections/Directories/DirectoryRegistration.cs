using System.Diagnostics.CodeAnalysis;
using AllocTools.Hosting;
using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>A directory that was added to a service collection.</summary>
/// <param name="pool">The section of the unnamed pool; null if there is none, and options are set only in code.</param>
internal sealed class DirectoryRegistration(IConfigurationSection? pool)
{
    /// <summary>The name of the section below the pool's.</summary>
    public const string SectionName = "Directory";

    /// <summary>The name of the section below that for a directory on Redis.</summary>
    public const string RedisSectionName = "Redis";

    /// <summary>The section with the options; null if they are set only in code.</summary>
    public IConfigurationSection? Section => pool?.GetSection(SectionName);

    /// <summary>The prefix of an option's name in an error.</summary>
    public string Origin => Section is { } section ? section.Path + ConfigurationPath.KeyDelimiter : "The directory: ";

    /// <summary>
    /// Makes the unnamed options be validated at startup, and bound to a section, if there is one, whose unknown keys
    /// are refused.
    /// </summary>
    public void AddOptions<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
        IServiceCollection services, string path, IReadOnlyList<RmaOptionKey> keys, IReadOnlyCollection<string> others, IValidateOptions<TOptions> rules)
        where TOptions : class
    {
        PoolOptions.AddOther<TOptions>(services, Options.DefaultName);
        services.AddSingleton<IValidateOptions<TOptions>>(new NamedOptionsValidator<TOptions>(Options.DefaultName, Origin + path, rules));
        IConfigurationSection? section = path.Length == 0 ? Section : Section?.GetSection(path.TrimEnd(':'));
        if (section is null)
            return;
        var bound = new SectionOptions<TOptions>(Options.DefaultName, section, keys, others, PoolOptions.AllowsUnknownKeys(pool!));
        services.AddSingleton(new SectionOfOthers(section.Path));
        services.AddSingleton<IConfigureOptions<TOptions>>(bound);
        services.AddSingleton<IValidateOptions<TOptions>>(bound);
    }
}
