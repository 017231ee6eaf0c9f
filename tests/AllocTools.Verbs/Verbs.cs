using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Verbs;

/// <summary>The fabric whose registrations pin, and what is pinned.</summary>
internal static class Verbs
{
    /// <summary>What is pinned is counted for the process, so its tests are one collection.</summary>
    public const string OneAtATime = "what is pinned";

    /// <summary>Of the fabrics that the environment names, the one that pins.</summary>
    public static string Fabric { get; } = Testing.Fabric.All.SingleOrDefault(Testing.Fabric.IsVerbs)
        ?? throw new InvalidOperationException("These tests need a verbs device: set ALLOCTOOLS_FABRICS to 'verbs;ofi_rxm@ADDRESS', or run eng/test --verbs.");

    /// <summary>VmPin of this process, in bytes. proc(5).</summary>
    public static long PinnedBytes => 1024 * long.Parse(
        File.ReadLines("/proc/self/status").Single(l => l.StartsWith("VmPin:", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);
}
