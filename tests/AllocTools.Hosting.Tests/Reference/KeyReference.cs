using System.Collections;
using System.Globalization;
using System.Reflection;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Hosting;
using AllocTools.Connections.Redis;
using AllocTools.HostMemory;
using AllocTools.Hosting.Configuration;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.MultiRail;
using AllocTools.Providers;
using AllocTools.Ucx;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Every key with what the code says about it: attributes, default values, documentation.</summary>
internal static class KeyReference
{
    public static IReadOnlyList<ReferenceKey> Pool { get; } = KeysOf("", OptionKeys.Pool, new RmaMemoryPoolOptions(), isPool: true);

    public static IReadOnlyList<ReferenceKey> Libfabric { get; } = KeysOf("Provider:", LibfabricProvider.Descriptor.Keys, new LibfabricOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Host { get; } = KeysOf("Provider:", HostProvider.Descriptor.Keys, new HostProviderOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Ucx { get; } = KeysOf("Provider:", UcxProvider.Descriptor.Keys, new UcxOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Mpi { get; } = KeysOf("Provider:", MpiProvider.Descriptor.Keys, new MpiOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Connections { get; } = KeysOf("Connections:", ConnectionOptionKeys.All, new RmaConnectionOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Directory { get; } = KeysOf("Directory:", DirectoryOptionKeys.All, new RmaDirectoryOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> Redis { get; } = KeysOf("Directory:Redis:", RedisDirectoryOptionKeys.All, new RmaRedisDirectoryOptions(), isPool: false);

    public static IReadOnlyList<ReferenceKey> MultiRail { get; } = KeysOf("MultiRail:", MultiRailOptionKeys.All, new RmaMultiRailOptions(), isPool: false);

    /// <summary>Gets the keys of all providers of the library. Keys with the same path have the same rules.</summary>
    public static IEnumerable<ReferenceKey> Providers => Libfabric.Concat(Host).Concat(Ucx).Concat(Mpi);

    private static ReferenceKey[] KeysOf(string path, IReadOnlyList<RmaOptionKey> keys, object defaults, bool isPool) =>
        [.. keys.Select(key => Of(path, key, defaults, isPool))];

    private static ReferenceKey Of(string path, RmaOptionKey key, object defaults, bool isPool)
    {
        bool isLive = isPool && path.Length == 0 && LiveOptions.Names.Contains(key.Name);
        if (key.Name == OptionKeys.AllowUnknownKeys)
            return new ReferenceKey(path + key.Name, key, null, "false", isLive, "Unknown keys are ignored instead of failing the start.", []);
        PropertyInfo property = defaults.GetType().GetProperty(key.Name)!;
        object? value = property.GetValue(defaults);
        (string below, Type? type) = key.Kind switch
        {
            RmaOptionKind.List => (":0:", property.PropertyType.GetGenericArguments()[0]),
            RmaOptionKind.Section => (":", property.PropertyType),
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

    private static string? TextOf(RmaOptionKind kind, object? value) => (kind, value) switch
    {
        (_, null) or (RmaOptionKind.Section or RmaOptionKind.List or RmaOptionKind.Map, _) => null,
        (RmaOptionKind.Size, long bytes) => SizeText.Of(bytes),
        (RmaOptionKind.Duration, TimeSpan time) when time == Timeout.InfiniteTimeSpan => "never",
        (RmaOptionKind.Flag, bool flag) => flag ? "true" : "false",
        _ => Convert.ToString(value, CultureInfo.InvariantCulture),
    };
}
