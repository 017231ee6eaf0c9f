using Microsoft.Extensions.Configuration;

namespace AllocTools.Hosting.Configuration;

/// <summary>The contents of a pool's section at one moment, including the options of the provider.</summary>
/// <remarks>Values are compared by their meaning: "64 KiB" equals 65536, and <c>none</c> equals <c>None</c>.</remarks>
internal sealed class SectionValues
{
    private readonly Dictionary<string, string> _values = new(StringComparer.OrdinalIgnoreCase);
    private readonly string _path;

    /// <summary>Reads the section as it is now.</summary>
    /// <param name="registration">The pool's registration, which has a section.</param>
    public SectionValues(PoolRegistration registration)
    {
        IConfigurationSection section = registration.Section!;
        _path = section.Path;
        IsThere = section.Exists();
        // Values that can't be read are reported elsewhere.
        Add("", SectionReader.Read(section, OptionKeys.Pool, [], allowsUnknownKeys: true).Values.AsEnumerable());
        IConfigurationSection provider = registration.ProviderSection!;
        Add(provider.Key, provider.AsEnumerable(makePathsRelative: true));
        if (registration.Descriptor is { } descriptor)
            Add(provider.Key, SectionReader.Read(provider, descriptor.Keys, [], allowsUnknownKeys: true).Values.AsEnumerable());
    }

    /// <summary>Whether the section has a value or keys.</summary>
    public bool IsThere { get; }

    /// <summary>Whether any value differs from these.</summary>
    public bool Differs(SectionValues later) => ChangedKeys(later).Any();

    /// <summary>
    /// Describes the differences in options that take effect only at a start, such as
    /// <c>AllocTools:HugePages from 'Off' to 'Explicit'</c>, in the order of the keys.
    /// </summary>
    public IEnumerable<string> RestartChanges(SectionValues later) =>
        from key in ChangedKeys(later)
        where !LiveOptions.Names.Contains(key, StringComparer.OrdinalIgnoreCase)
        select $"{ConfigurationPath.Combine(_path, key)} from {Quote(_values.GetValueOrDefault(key))} to {Quote(later._values.GetValueOrDefault(key))}";

    private IEnumerable<string> ChangedKeys(SectionValues later) =>
        _values.Keys.Union(later._values.Keys, StringComparer.OrdinalIgnoreCase)
            .Where(key => _values.GetValueOrDefault(key) != later._values.GetValueOrDefault(key))
            .Order(StringComparer.OrdinalIgnoreCase);

    private void Add(string below, IEnumerable<KeyValuePair<string, string?>> values)
    {
        foreach ((string key, string? value) in values)
        {
            // A section has no value of its own.
            if (!string.IsNullOrEmpty(value))
                _values[below.Length == 0 ? key : ConfigurationPath.Combine(below, key)] = value;
        }
    }

    private static string Quote(string? value) => value is null ? "nothing" : $"'{value}'";
}
