using Microsoft.Extensions.Configuration;

namespace AllocTools.Hosting.Configuration;

/// <summary>What a pool's section says, at one moment, of the options that take effect at a start only; those of the provider are among them.</summary>
internal sealed class RestartValues
{
    private readonly Dictionary<string, string?> _values = new(StringComparer.OrdinalIgnoreCase);
    private readonly string _path;

    /// <summary>Reads the section as it is now.</summary>
    public RestartValues(IConfigurationSection section)
    {
        _path = section.Path;
        // "64 KiB" and "65536" are the same; what can't be read is another one's to report.
        (_, IConfiguration values) = SectionReader.Read(section, OptionKeys.Pool, [], allowsUnknownKeys: true);
        Add(values.AsEnumerable());
        IConfigurationSection provider = section.GetSection(RmaMemoryPoolBuilder.ProviderSection);
        Add(provider.AsEnumerable(makePathsRelative: true).Select(p => KeyValuePair.Create(ConfigurationPath.Combine(RmaMemoryPoolBuilder.ProviderSection, p.Key), p.Value)));
    }

    /// <summary>What differs later, such as <c>AllocTools:HugePages from 'Off' to 'Explicit'</c>, in the order of the keys.</summary>
    public IEnumerable<string> Changes(RestartValues later) =>
        from key in _values.Keys.Union(later._values.Keys, StringComparer.OrdinalIgnoreCase).Order(StringComparer.OrdinalIgnoreCase)
        let before = _values.GetValueOrDefault(key)
        let after = later._values.GetValueOrDefault(key)
        where before != after
        select $"{ConfigurationPath.Combine(_path, key)} from {Quote(before)} to {Quote(after)}";

    private void Add(IEnumerable<KeyValuePair<string, string?>> values)
    {
        foreach ((string key, string? value) in values)
        {
            // A section has no value of its own.
            if (!string.IsNullOrEmpty(value) && !LiveOptions.Names.Contains(key, StringComparer.OrdinalIgnoreCase))
                _values[key] = value;
        }
    }

    private static string Quote(string? value) => value is null ? "nothing" : $"'{value}'";
}
