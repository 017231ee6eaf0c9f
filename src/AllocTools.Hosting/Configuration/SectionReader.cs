using AllocTools.Providers;
using Microsoft.Extensions.Configuration;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads a section against the keys that it may have.</summary>
/// <remarks>
/// Values that can't be read and unknown keys are collected with their paths. All other values are returned in one
/// normal spelling, sizes as numbers of bytes, from which the options are then set.
/// </remarks>
internal sealed class SectionReader
{
    private readonly List<string> _failures = [];
    private readonly Dictionary<string, string?> _values = new(StringComparer.OrdinalIgnoreCase);
    private readonly bool _allowsUnknownKeys;
    private readonly string _root;

    private SectionReader(IConfigurationSection section, bool allowsUnknownKeys)
    {
        _allowsUnknownKeys = allowsUnknownKeys;
        _root = section.Path;
    }

    /// <summary>Reads a section.</summary>
    /// <param name="section">The section; a missing section counts as empty.</param>
    /// <param name="keys">The keys it may have.</param>
    /// <param name="others">Further keys that it may have, which other code reads. Keys below one of its own keys have
    /// their path, such as <c>Endpoint:Port</c>.</param>
    /// <param name="allowsUnknownKeys">Whether unknown keys are ignored.</param>
    /// <returns>The failures, each with the path, the value and what it must be; and the values that can be bound.</returns>
    public static (IReadOnlyList<string> Failures, IConfiguration Values) Read(
        IConfigurationSection section, IReadOnlyList<RmaOptionKey> keys, IReadOnlyCollection<string> others, bool allowsUnknownKeys)
    {
        SectionReader reader = new(section, allowsUnknownKeys);
        if (reader.IsSection(section, "an object with options", keys))
            reader.ReadSection(section, keys, others);
        return (reader._failures, new ConfigurationBuilder().AddInMemoryCollection(reader._values).Build());
    }

    /// <summary>Sets options to the values that <see cref="Read"/> returned.</summary>
    /// <param name="keys">The same keys.</param>
    /// <param name="values">The values.</param>
    /// <param name="options">The options that the keys belong to.</param>
    public static void Bind(IReadOnlyList<RmaOptionKey> keys, IConfiguration values, object options)
    {
        foreach (RmaOptionKey key in keys)
        {
            IConfigurationSection section = values.GetSection(key.Name);
            switch (key.Kind)
            {
                case RmaOptionKind.Section:
                    if (section.Exists())
                        Bind(key.Keys, section, key.Open(options));
                    break;
                case RmaOptionKind.List:
                    foreach (IConfigurationSection entry in section.GetChildren())
                        Bind(key.Keys, entry, key.Open(options));
                    break;
                case RmaOptionKind.Map:
                    foreach (IConfigurationSection entry in section.GetChildren())
                        key.Set(options, entry.Key, entry.Value!);
                    break;
                default:
                    if (section.Value is { } value)
                        key.Set(options, value);
                    break;
            }
        }
    }

    private void ReadSection(IConfigurationSection section, IReadOnlyList<RmaOptionKey> keys, IReadOnlyCollection<string> others)
    {
        foreach (IConfigurationSection child in section.GetChildren())
        {
            RmaOptionKey? key = keys.FirstOrDefault(k => k.Name.Equals(child.Key, StringComparison.OrdinalIgnoreCase));
            if (key is not null)
                ReadKey(child, key, others);
            else if (!_allowsUnknownKeys && !others.Contains(child.Key, StringComparer.OrdinalIgnoreCase))
                _failures.Add($"Unknown option {child.Path}. {Suggest(child, keys, others)}");
        }
    }

    private void ReadKey(IConfigurationSection section, RmaOptionKey key, IReadOnlyCollection<string> others)
    {
        switch (key.Kind)
        {
            case RmaOptionKind.Section:
                if (IsSection(section, "an object with options"))
                    ReadSection(section, key.Keys, Below(key.Name, others));
                break;
            case RmaOptionKind.List:
                if (!IsSection(section, "a list of objects"))
                    break;
                foreach (IConfigurationSection entry in section.GetChildren())
                {
                    if (!int.TryParse(entry.Key, out _))
                        _failures.Add($"{section.Path} is an object with '{entry.Key}'; it must be a list of objects, such as [ {{ \"{key.Keys[0].Name}\": … }} ].");
                    else if (IsSection(entry, "an object with options"))
                        ReadSection(entry, key.Keys, []);
                }
                break;
            case RmaOptionKind.Map:
                if (IsSection(section, "an object of names and strings"))
                {
                    foreach (IConfigurationSection entry in section.GetChildren())
                        ReadValue(entry, key, RmaOptionKind.Text);
                }
                break;
            default:
                ReadValue(section, key, key.Kind);
                break;
        }
    }

    private void ReadValue(IConfigurationSection section, RmaOptionKey key, RmaOptionKind kind)
    {
        bool isOne = section.Value is not null || !section.GetChildren().Any();
        // null in JSON and an empty environment variable mean the default.
        if (isOne && string.IsNullOrEmpty(section.Value))
            return;
        bool isRead = OptionValue.TryRead(kind, key.Choices, section.Value ?? "", out string normal, out string expected);
        if (!isOne)
            _failures.Add($"{section.Path} is an object or a list; it must be {expected}.");
        else if (isRead)
            _values[section.Path[(_root.Length + 1)..]] = normal;
        else
            _failures.Add($"{section.Path} is '{section.Value}'; it must be {expected}.{DidYouMean(OptionValue.Suggest(key, section.Value!))}");
    }

    /// <param name="section">The section.</param>
    /// <param name="what">What the section must be.</param>
    /// <param name="keys">Its keys, one of which may have been meant.</param>
    private bool IsSection(IConfigurationSection section, string what, IReadOnlyList<RmaOptionKey>? keys = null)
    {
        if (string.IsNullOrEmpty(section.Value))
            return true;
        RmaOptionKey? meant = keys?.FirstOrDefault(k => k.Kind == RmaOptionKind.Text && k.Name.Equals(section.Key, StringComparison.OrdinalIgnoreCase));
        _failures.Add($"{section.Path} is '{section.Value}'; it must be {what}.{DidYouMean(meant is null ? null : $"{section.Path}:{meant.Name}")}");
        return false;
    }

    /// <summary>Returns the paths below a key, relative to it.</summary>
    private static string[] Below(string key, IReadOnlyCollection<string> others) =>
        [.. others.Where(o => o.StartsWith(key + ":", StringComparison.OrdinalIgnoreCase)).Select(o => o[(key.Length + 1)..])];

    private static string DidYouMean(string? suggestion) => suggestion is null ? "" : $" Did you mean {suggestion}?";

    private static string Suggest(IConfigurationSection unknown, IReadOnlyList<RmaOptionKey> keys, IReadOnlyCollection<string> others)
    {
        string name = unknown.Key;
        // A section often contains a key with the section's own name, such as Provider:Provider.
        string[] levels = unknown.Path.Split(ConfigurationPath.KeyDelimiter);
        if (name.Equals("Name", StringComparison.OrdinalIgnoreCase) && levels.Length > 1 && keys.FirstOrDefault(k => k.Kind == RmaOptionKind.Text && k.Name.Equals(levels[^2], StringComparison.OrdinalIgnoreCase)) is { } own)
            return $"Did you mean {own.Name}?";
        string[] known = [.. keys.Select(k => k.Name).Union(others.Where(o => !o.Contains(':', StringComparison.Ordinal)), StringComparer.OrdinalIgnoreCase)];
        string nearest = known.MinBy(k => Distance(k, name))!;
        return Distance(nearest, name) <= Math.Max(2, name.Length / 3)
            ? $"Did you mean {nearest}?"
            : $"The options here are {string.Join(", ", known.Order(StringComparer.Ordinal))}.";
    }

    /// <summary>Returns the number of letters to insert, remove or change (Levenshtein distance), ignoring case.</summary>
    internal static int Distance(string left, string right)
    {
        int[] row = [.. Enumerable.Range(0, right.Length + 1)];
        for (int i = 1; i <= left.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int change = diagonal + (char.ToUpperInvariant(left[i - 1]) == char.ToUpperInvariant(right[j - 1]) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(change, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[^1];
    }
}
