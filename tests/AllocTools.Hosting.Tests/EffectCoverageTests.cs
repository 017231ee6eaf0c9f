using System.Reflection;
using AllocTools.Hosting.Configuration;
using AllocTools.Hosting.Tests.Reference;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Providers;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Checks that every key has a test of its effect.</summary>
public sealed class EffectCoverageTests
{
    /// <summary>
    /// libfabric reads its settings once per process: the tests of the sample cover these, each in a process of its
    /// own.
    /// </summary>
    /// <remarks>MPI's settings are per process, too: AllocTools.Mpi.Tests cover them.</remarks>
    private static readonly string[] InProcessesOfTheirOwn = ["Provider:MrCache", "Provider:Settings", "Provider:Implementation", "Provider:StartTimeout", "Provider:EndTimeout"];

    [Fact]
    public void Every_key_has_a_test_of_its_effect()
    {
        string[] shown =
        [
            .. typeof(EffectCoverageTests).Assembly.GetTypes()
                .SelectMany(t => t.GetMethods(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance))
                .SelectMany(m => m.GetCustomAttributes<EffectOfAttribute>())
                .SelectMany(a => a.Keys),
            .. InProcessesOfTheirOwn,
        ];
        IEnumerable<string> keys = KeyReference.Pool.Concat(KeyReference.Providers)
            .SelectMany(k => k.All)
            .Where(k => k.Key.Kind is not (RmaOptionKind.Section or RmaOptionKind.List))
            .Select(k => k.Path)
            .Distinct();
        Assert.Equal(keys.Order(StringComparer.Ordinal), shown.Distinct().Order(StringComparer.Ordinal));
    }
}
