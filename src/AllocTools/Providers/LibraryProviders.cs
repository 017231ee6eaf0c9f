using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;

namespace AllocTools.Providers;

/// <summary>
/// The keys of all providers of this library, so that an application may choose one of them at run time with one
/// section.
/// </summary>
internal static class LibraryProviders
{
    /// <summary>The names of the keys; those in subsections include their path.</summary>
    public static IReadOnlyCollection<string> Keys { get; } =
        [.. new[] { PathsOf("", LibfabricOptionKeys.All), PathsOf("", HostProviderOptionKeys.All), PathsOf("", UcxOptionKeys.All), PathsOf("", MpiOptionKeys.All) }
            .SelectMany(static paths => paths).Distinct(StringComparer.OrdinalIgnoreCase)];

    private static IEnumerable<string> PathsOf(string section, IEnumerable<RmaOptionKey> keys) =>
        keys.SelectMany(k => PathsOf($"{section}{k.Name}:", k.Keys).Prepend(section + k.Name));
}
