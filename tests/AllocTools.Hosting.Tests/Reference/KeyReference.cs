using System.Collections;
using System.Globalization;
using System.Reflection;
using AllocTools.Hosting.Configuration;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Every key with what stands about it in the code: attributes, default values, documentation.</summary>
internal static class KeyReference
{
    public static IReadOnlyList<ReferenceKey> Pool { get; } = KeysOf("", OptionKeys.Pool, new RmaMemoryPoolOptions(), isPool: true);

    public static IReadOnlyList<ReferenceKey> Libfabric { get; } = KeysOf("Provider:", OptionKeys.Libfabric, new LibfabricOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Host { get; } = KeysOf("Provider:", OptionKeys.Host, new HostProviderOptions(), isPool: false);

    private static ReferenceKey[] KeysOf(string path, IReadOnlyList<OptionKey> keys, object defaults, bool isPool) =>
        [.. keys.Select(key => Of(path, key, defaults, isPool))];

    private static ReferenceKey Of(string path, OptionKey key, object defaults, bool isPool)
    {
        bool isLive = isPool && path.Length == 0 && LiveOptions.Names.Contains(key.Name);
        if (key.Name == OptionKeys.AllowUnknownKeys)
            return new ReferenceKey(path + key.Name, key, null, "false", isLive, "Unknown keys are ignored instead of failing the start.", []);
        PropertyInfo property = defaults.GetType().GetProperty(key.Name)!;
        object? value = property.GetValue(defaults);
        (string below, Type? type) = key.Kind switch
        {
            OptionKind.List => (":0:", property.PropertyType.GetGenericArguments()[0]),
            OptionKind.Section => (":", property.PropertyType),
            _ => ("", null),
        };
        return new ReferenceKey(
            path + key.Name,
            key,
            property.GetCustomAttribute<OptionAttribute>(),
            property.GetCustomAttribute<OptionRangeAttribute>() is { } range && Convert.ToInt64(value ?? -1L, CultureInfo.InvariantCulture) < range.Least ? null : TextOf(key.Kind, value),
            isLive,
            string.Join(' ', [Summaries.Of(property), .. Summaries.OfChoices(key, property)]),
            type is null ? [] : KeysOf(path + key.Name + below, key.Keys, value is null or IEnumerable ? Activator.CreateInstance(type)! : value, isPool));
    }

    private static string? TextOf(OptionKind kind, object? value) => (kind, value) switch
    {
        (_, null) or (OptionKind.Section or OptionKind.List or OptionKind.Map, _) => null,
        (OptionKind.Size, long bytes) => SizeText.Of(bytes),
        (OptionKind.Flag, bool flag) => flag ? "true" : "false",
        _ => Convert.ToString(value, CultureInfo.InvariantCulture),
    };
}
