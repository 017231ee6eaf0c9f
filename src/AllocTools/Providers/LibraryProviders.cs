using AllocTools.HostMemory;
using AllocTools.Libfabric;

namespace AllocTools.Providers;

/// <summary>The keys of all providers of this library: an application may choose one when it runs, over one section.</summary>
internal static class LibraryProviders
{
    /// <summary>Their names.</summary>
    public static IReadOnlyCollection<string> Keys { get; } =
        [.. LibfabricOptionKeys.All.Select(k => k.Name).Union(HostProviderOptionKeys.All.Select(k => k.Name), StringComparer.OrdinalIgnoreCase)];
}
