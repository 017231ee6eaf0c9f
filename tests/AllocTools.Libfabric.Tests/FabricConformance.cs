using AllocTools.Endpoints;
using AllocTools.Libfabric.Tests.Faked;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;

namespace AllocTools.Libfabric.Tests;

public sealed class FabricTransfers : TransferConformance<FabricTransport>;

public sealed class FabricMessages : MessageConformance<FabricTransport>;

public sealed class FabricWindows : WindowConformance<FabricTransport>;

public sealed class FabricEndings : EndingConformance<FabricTransport>;

public sealed class FabricPeers : PeerConformance<FabricTransport>;

public sealed class FabricClosedPeers : ClosedPeerConformance<FabricTransport>;

public sealed class FabricNotifications : NotificationConformance<FabricTransport>;

public sealed class FabricReceiveLoops : ReceiveLoopConformance<FabricTransport>;

public sealed class FabricBatches : BatchConformance<FabricTransport>;

public sealed class FabricPipes : PipeConformance<FabricTransport>;

public sealed class FabricCollections : CollectionConformance<FabricTransport>;

public sealed class FabricCells : CellConformance<FabricTransport>;

public sealed class FabricMistakes : MistakeConformance<FabricTransport>;

public sealed class FabricTrust : TrustConformance<FabricTransport>
{
    protected override bool Enforces(string fabric) => fabric is not (Fabric.SharedMemoryByAddress or Fabric.SharedMemoryByOffset);
}

public sealed class FabricRegistrationCaches : RegistrationCacheConformance<FabricTransport>;

public sealed class FabricMappedFiles : MappedFileConformance<FabricTransport>;

/// <summary>
/// libfabric: each fabric with an endpoint's thread, with callers who make progress, and at the level Transmit; also
/// the worlds of the fake, by their names.
/// </summary>
public sealed class FabricTransport : IConformingTransport
{
    private const string ByCaller = " by its caller";
    private const string AtTransmit = " at Transmit";

    /// <summary>
    /// The engine handles progress, and no device affects that: on the emulated machine with a verbs device, callers
    /// make progress only if everything is run.
    /// </summary>
    private static readonly string[] Ways = TestExtent.IsFull || !Fabric.All.Any(Fabric.IsVerbs) ? ["", ByCaller, AtTransmit] : ["", AtTransmit];

    public static IEnumerable<string> Modes => Ways.SelectMany(how => Fabric.All.Select(fabric => fabric + how));

    public static IRmaContext Open(string mode, Action<RmaEndpointOptions> configure)
    {
        if (FakeWorld.Find(mode) is { } world)
            return world.Open(o => configure(o.Endpoint));
        bool isByCaller = mode.EndsWith(ByCaller, StringComparison.Ordinal);
        bool isAtTransmit = mode.EndsWith(AtTransmit, StringComparison.Ordinal);
        string fabric = isByCaller ? mode[..^ByCaller.Length] : isAtTransmit ? mode[..^AtTransmit.Length] : mode;
        return Fabric.Open(fabric, o =>
        {
            o.Endpoint.Progress = isByCaller ? RmaProgress.Caller : RmaProgress.Endpoint;
            o.Endpoint.CompletionLevel = isAtTransmit ? LibfabricCompletionLevel.Transmit : LibfabricCompletionLevel.Delivery;
            configure(o.Endpoint);
        });
    }
}
