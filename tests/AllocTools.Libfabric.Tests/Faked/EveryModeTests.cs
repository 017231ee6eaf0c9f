using System.Reflection;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Runs the tests that each fabric passes in libfabric's registration modes; tests that use keys run with every key
/// width.
/// </summary>
public sealed class EveryModeTests
{
    /// <summary>Tests that use peers' keys: the width of a key may matter to them.</summary>
    private static readonly (Type Class, MethodInfo Test)[] OfKeys =
        SuiteOf(typeof(FabricTransfers), typeof(FabricMistakes), typeof(EndpointTests), typeof(BatchTests), typeof(FabricBatches), typeof(FabricNotifications));

    /// <summary>Tests of messages, slots and addresses. They run once for each combination of the mode's bits.</summary>
    private static readonly (Type Class, MethodInfo Test)[] OfMessages =
        SuiteOf(typeof(FabricMessages), typeof(FabricWindows), typeof(FabricEndings), typeof(FabricPeers), typeof(FabricReceiveLoops), typeof(MessageTests));

    public static TheoryData<string> Modes => [.. FakeMode.ToTest.Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatHoldsOnAFabricHoldsInEachMode(string mode)
    {
        FakeMode demanded = FakeMode.Parse(mode);
        Assert.True(OfKeys.Length >= 18 && OfMessages.Length >= 31, $"{OfKeys.Length} and {OfMessages.Length} tests");
        (Type, MethodInfo)[] suite = !TestExtent.IsFull || demanded.KeySize is sizeof(ulong) or FakeMode.RawKeySize ? [.. OfKeys, .. OfMessages] : OfKeys;
        foreach ((Type type, MethodInfo test) in suite)
            await HoldsAsync(type, test, demanded);
        TestContext.Current.TestOutputHelper!.WriteLine($"{suite.Length} tests hold");
    }

    /// <summary>Runs a test that takes too long for every mode in the modes that providers have.</summary>
    [Theory]
    [InlineData("4 local virtual allocated provider-key")]
    [InlineData("4 allocated endpoint")]
    [InlineData("24 virtual allocated provider-key raw")]
    [InlineData("8")]
    public async Task ANumberIsNeverThereBeforeTheBytes(string mode) =>
        await HoldsAsync(typeof(FabricNotifications), typeof(FabricNotifications).GetMethod(nameof(FabricNotifications.ANumberIsNeverThereBeforeTheBytes))!, FakeMode.Parse(mode));

    private static (Type, MethodInfo)[] SuiteOf(params Type[] types) =>
    [
        .. types
            .SelectMany(t => t.GetMethods().Select(m => (t, m)))
            .Where(t => t.m.GetCustomAttribute<MemberDataAttribute>()?.MemberName is nameof(FabricTransfers.Modes) or nameof(EndpointTests.Fabrics))
            // These take tens of thousands of operations, in each of some hundred modes.
            .Where(t => t.m.Name is not (nameof(FabricBatches.ABatchOfManyMoreThanMayBeOutstandingMovesThemAll) or nameof(FabricNotifications.ANumberIsNeverThereBeforeTheBytes))),
    ];

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
