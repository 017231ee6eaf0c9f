using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.Conformance;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx.Tests;

public sealed class UcxTransfers : TransferConformance<UcxTransport>;

public sealed class UcxMessages : MessageConformance<UcxTransport>;

public sealed class UcxWindows : WindowConformance<UcxTransport>;

public sealed class UcxEndings : EndingConformance<UcxTransport>;

public sealed class UcxPeers : PeerConformance<UcxTransport>;

public sealed class UcxClosedPeers : ClosedPeerConformance<UcxTransport>;

public sealed class UcxNotifications : NotificationConformance<UcxTransport>;

public sealed class UcxReceiveLoops : ReceiveLoopConformance<UcxTransport>;

public sealed class UcxBatches : BatchConformance<UcxTransport>;

public sealed class UcxPipes : PipeConformance<UcxTransport>;

public sealed class UcxCollections : CollectionConformance<UcxTransport>;

public sealed class UcxCells : CellConformance<UcxTransport>;

public sealed class UcxMistakes : MistakeConformance<UcxTransport>;

public sealed class UcxTrust : TrustConformance<UcxTransport>
{
    protected override bool Enforces(string fabric) => false;
}

public sealed class UcxRegistrationCaches : RegistrationCacheConformance<UcxTransport>;

public sealed class UcxMappedFiles : MappedFileConformance<UcxTransport>;

/// <summary>
/// UCX: each way with an endpoint's thread, with callers who make progress, and as a build of UCX that only one thread
/// may call at a time.
/// </summary>
public sealed class UcxTransport : IConformingTransport
{
    private const string ByCaller = " by its caller";
    private const string Serialized = " one call at a time";

    public static IEnumerable<string> Modes => new[] { "", ByCaller, Serialized }.SelectMany(how => UcxFabric.All.Select(fabric => fabric + how));

    public static IRmaContext Open(string mode, Action<RmaEndpointOptions> configure)
    {
        bool isByCaller = mode.EndsWith(ByCaller, StringComparison.Ordinal);
        bool isSerialized = mode.EndsWith(Serialized, StringComparison.Ordinal);
        UcxOptions options = UcxFabric.Options(isByCaller ? mode[..^ByCaller.Length] : isSerialized ? mode[..^Serialized.Length] : mode);
        options.Endpoint.Progress = isByCaller ? RmaProgress.Caller : RmaProgress.Endpoint;
        configure(options.Endpoint);
        return new UcxProvider(options) { ThreadMode = isSerialized ? UcpMode.UCS_THREAD_MODE_SERIALIZED : UcpMode.UCS_THREAD_MODE_MULTI }.Open();
    }
}
