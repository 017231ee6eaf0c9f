using AllocTools.Courier;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing.Conformance;

namespace AllocTools.Tests.ThirdParty;

public sealed class CourierTransfers : TransferConformance<CourierTransport>;

public sealed class CourierMessages : MessageConformance<CourierTransport>;

public sealed class CourierWindows : WindowConformance<CourierTransport>;

public sealed class CourierEndings : EndingConformance<CourierTransport>;

public sealed class CourierPeers : PeerConformance<CourierTransport>;

public sealed class CourierClosedPeers : ClosedPeerConformance<CourierTransport>;

public sealed class CourierNotifications : NotificationConformance<CourierTransport>;

public sealed class CourierReceiveLoops : ReceiveLoopConformance<CourierTransport>;

public sealed class CourierBatches : BatchConformance<CourierTransport>;

public sealed class CourierMistakes : MistakeConformance<CourierTransport>;

/// <summary>The third driver, shown in docs/providers.md.</summary>
public sealed class CourierTransport : IConformingTransport
{
    public static IEnumerable<string> Modes => Enum.GetNames<RmaProgress>();

    public static IRmaContext Open(string mode, Action<RmaEndpointOptions> configure)
    {
        RmaEndpointOptions options = new() { Progress = Enum.Parse<RmaProgress>(mode) };
        configure(options);
        return new CourierProvider(options).Open();
    }
}
