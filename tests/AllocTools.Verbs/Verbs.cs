using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Verbs;

/// <summary>The fabric whose registrations pin memory, and the amount of pinned memory.</summary>
internal static class Verbs
{
    /// <summary>The collection of these tests: pinned memory is counted per process, so they must not run in parallel.</summary>
    public const string OneAtATime = "what is pinned";

    /// <summary>Gets the fabric that pins memory, among those that the environment names.</summary>
    public static string Fabric { get; } = Testing.Fabric.All.SingleOrDefault(Testing.Fabric.IsVerbs)
        ?? throw new InvalidOperationException("These tests need a verbs device: set ALLOCTOOLS_FABRICS to 'verbs;ofi_rxm@ADDRESS', or run eng/test --verbs.");

    /// <summary>Gets VmPin of this process in bytes: proc(5).</summary>
    public static long PinnedBytes => 1024 * long.Parse(
        File.ReadLines("/proc/self/status").Single(l => l.StartsWith("VmPin:", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);
}
