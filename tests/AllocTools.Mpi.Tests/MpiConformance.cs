using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing.Conformance;

namespace AllocTools.Mpi.Tests;

public sealed class MpiTransfers : TransferConformance<MpiTransport>;

public sealed class MpiMessages : MessageConformance<MpiTransport>;

public sealed class MpiWindows : WindowConformance<MpiTransport>;

public sealed class MpiEndings : EndingConformance<MpiTransport>;

public sealed class MpiPeers : PeerConformance<MpiTransport>;

public sealed class MpiClosedPeers : ClosedPeerConformance<MpiTransport>;

public sealed class MpiNotifications : NotificationConformance<MpiTransport>;

public sealed class MpiReceiveLoops : ReceiveLoopConformance<MpiTransport>;

public sealed class MpiBatches : BatchConformance<MpiTransport>;

public sealed class MpiMistakes : MistakeConformance<MpiTransport>;

public sealed class MpiTrust : TrustConformance<MpiTransport>
{
    protected override bool Enforces(string fabric) => false;
}

/// <summary>
/// The MPI that has started this process; otherwise MPICH, which works in a process that was not started by mpirun.
/// </summary>
public sealed class MpiTransport : IConformingTransport
{
    public static IEnumerable<string> Modes => Enum.GetNames<RmaProgress>();

    public static IRmaContext Open(string mode, Action<RmaEndpointOptions> configure)
    {
        MpiOptions options = new();
        options.Endpoint.Progress = Enum.Parse<RmaProgress>(mode);
        configure(options.Endpoint);
        return new MpiProvider(options).Open();
    }
}
