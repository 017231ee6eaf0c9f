using System.Reflection;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>The tests that each fabric passes, on every registration mode and key width that libfabric has.</summary>
public sealed class EveryModeTests
{
    private static readonly MethodInfo[] Suite =
    [
        .. new[] { typeof(TransferTests), typeof(EndpointTests), typeof(PeerTests), typeof(MessageTests), typeof(MistakeTests), typeof(BatchTests) }
            .SelectMany(t => t.GetMethods())
            .Where(m => m.GetCustomAttribute<MemberDataAttribute>()?.MemberName == nameof(TransferTests.Fabrics)),
    ];

    public static TheoryData<string> Modes => [.. FakeMode.All().Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatHoldsOnAFabricHoldsInEachMode(string mode)
    {
        FakeMode demanded = FakeMode.Parse(mode);
        Assert.True(Suite.Length >= 26);
        // A context has but one endpoint where registrations are bound to it.
        MethodInfo[] tests =
        [
            .. Suite.Where(t => !demanded.Is(FiMrMode.FI_MR_ENDPOINT) || t.Name != nameof(EndpointTests.TwoEndpointsOfOneContextReachEachOther)),
        ];
        foreach (MethodInfo test in tests)
            await HoldsAsync(test, demanded);
        TestContext.Current.TestOutputHelper!.WriteLine($"{tests.Length} tests hold");
    }

    private static async Task HoldsAsync(MethodInfo test, FakeMode mode)
    {
        string name = $"{test.DeclaringType!.Name}.{test.Name}";
        var world = new FakeWorld(mode);
        Exception? failure = await Record.ExceptionAsync(() => (Task)test.Invoke(Activator.CreateInstance(test.DeclaringType!), [world.Name])!);
        Assert.True(failure is null, $"{name}: {failure}");
        failure = Record.Exception(world.Dispose);
        Assert.True(failure is null, $"{name}, after its end: {failure}");
    }
}
