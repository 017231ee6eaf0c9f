using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing.Conformance;

namespace AllocTools.Tests.HostMemory;

public sealed class HostTransfers : TransferConformance<HostTransport>;

public sealed class HostMessages : MessageConformance<HostTransport>;

public sealed class HostWindows : WindowConformance<HostTransport>;

public sealed class HostEndings : EndingConformance<HostTransport>;

public sealed class HostPeers : PeerConformance<HostTransport>;

public sealed class HostClosedPeers : ClosedPeerConformance<HostTransport>;

public sealed class HostNotifications : NotificationConformance<HostTransport>;

public sealed class HostReceiveLoops : ReceiveLoopConformance<HostTransport>;

public sealed class HostBatches : BatchConformance<HostTransport>;

public sealed class HostPipes : PipeConformance<HostTransport>;

public sealed class HostCollections : CollectionConformance<HostTransport>;

public sealed class HostCells : CellConformance<HostTransport>;

public sealed class HostMistakes : MistakeConformance<HostTransport>;

public sealed class HostTrust : TrustConformance<HostTransport>
{
    protected override bool Enforces(string fabric) => true;
}

public sealed class HostRegistrationCaches : RegistrationCacheConformance<HostTransport>;

public sealed class HostMappedFiles : MappedFileConformance<HostTransport>;

/// <summary>The transport over the process's own memory.</summary>
public sealed class HostTransport : IConformingTransport
{
    public static IEnumerable<string> Modes => Enum.GetNames<RmaProgress>();

    public static IRmaContext Open(string mode, Action<RmaEndpointOptions> configure)
    {
        HostProviderOptions options = new() { Locking = PageLocking.None };
        options.Endpoint.Progress = Enum.Parse<RmaProgress>(mode);
        configure(options.Endpoint);
        return new HostProvider(options).Open();
    }
}
