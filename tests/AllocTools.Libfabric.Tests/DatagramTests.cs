using System.Reflection;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// The conformance suite on udp;ofi_rxd, except for operations that a target refuses and peers that are gone: the
/// provider reports neither (docs/providers.md).
/// </summary>
public sealed class DatagramTests
{
    private const string Fabric = "udp;ofi_rxd";

    private static readonly string[] Unanswered = [nameof(FabricBatches.TheFirstThatFailsIsNamedWhicheverItIs), nameof(FabricTransfers.NothingReachesMemoryWhoseExposureHasEnded)];

    public static TheoryData<string, string> Suite
    {
        get
        {
            var suite = new TheoryData<string, string>();
            foreach (Type type in new[] { typeof(FabricTransfers), typeof(FabricMessages), typeof(FabricWindows), typeof(FabricEndings), typeof(FabricPeers), typeof(FabricReceiveLoops), typeof(FabricNotifications), typeof(FabricBatches), typeof(FabricMistakes) })
            {
                foreach (MethodInfo test in type.GetMethods().Where(static m => m.GetCustomAttribute<MemberDataAttribute>() is not null && !Unanswered.Contains(m.Name)))
                    suite.Add(type.Name, test.Name);
            }
            return suite;
        }
    }

    [Theory]
    [MemberData(nameof(Suite))]
    public async Task WhatHoldsOnAFabricHolds(string type, string test)
    {
        Type suite = typeof(DatagramTests).Assembly.GetType($"{typeof(DatagramTests).Namespace}.{type}", throwOnError: true)!;
        await (Task)suite.GetMethod(test)!.Invoke(Activator.CreateInstance(suite), [Fabric])!;
    }
}
