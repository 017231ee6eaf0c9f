using System.Reflection;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>The tests that each fabric passes, on every registration mode and key width that libfabric has.</summary>
public sealed class EveryModeTests
{
    private static readonly (Type Class, MethodInfo Test)[] Suite =
    [
        .. new[] { typeof(FabricTransfers), typeof(FabricMessages), typeof(FabricWindows), typeof(FabricEndings), typeof(FabricPeers), typeof(FabricMistakes), typeof(FabricReceiveLoops), typeof(EndpointTests), typeof(MessageTests), typeof(BatchTests), typeof(FabricBatches), typeof(FabricNotifications) }
            .SelectMany(t => t.GetMethods().Select(m => (t, m)))
            .Where(t => t.m.GetCustomAttribute<MemberDataAttribute>()?.MemberName is nameof(FabricTransfers.Modes) or nameof(EndpointTests.Fabrics))
            // Tens of thousands of operations, in each of some hundred modes.
            .Where(t => t.m.Name is not (nameof(FabricBatches.ABatchOfManyMoreThanMayBeOutstandingMovesThemAll) or nameof(FabricNotifications.ANumberIsNeverThereBeforeTheBytes))),
    ];

    public static TheoryData<string> Modes => [.. FakeMode.All().Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatHoldsOnAFabricHoldsInEachMode(string mode)
    {
        FakeMode demanded = FakeMode.Parse(mode);
        Assert.True(Suite.Length >= 38);
        foreach ((Type type, MethodInfo test) in Suite)
            await HoldsAsync(type, test, demanded);
        TestContext.Current.TestOutputHelper!.WriteLine($"{Suite.Length} tests hold");
    }

    /// <summary>What takes too long for each mode, in those that providers have.</summary>
    [Theory]
    [InlineData("4 local virtual allocated provider-key")]
    [InlineData("4 allocated endpoint")]
    [InlineData("24 virtual allocated provider-key raw")]
    [InlineData("8")]
    public async Task ANumberIsNeverThereBeforeTheBytes(string mode) =>
        await HoldsAsync(typeof(FabricNotifications), typeof(FabricNotifications).GetMethod(nameof(FabricNotifications.ANumberIsNeverThereBeforeTheBytes))!, FakeMode.Parse(mode));

    private static async Task HoldsAsync(Type type, MethodInfo test, FakeMode mode)
    {
        string name = $"{type.Name}.{test.Name}";
        var world = new FakeWorld(mode);
        Exception? failure = await Record.ExceptionAsync(() => (Task)test.Invoke(Activator.CreateInstance(type), [world.Name])!);
        Assert.True(failure is null, $"{name}: {failure}");
        failure = Record.Exception(world.Dispose);
        Assert.True(failure is null, $"{name}, after its end: {failure}");
    }
}
