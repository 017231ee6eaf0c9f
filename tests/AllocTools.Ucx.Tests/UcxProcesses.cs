using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;

namespace AllocTools.Ucx.Tests;

/// <summary>Two processes over UCX.</summary>
public sealed class UcxProcesses : ITwoProcessTransport
{
    public static IEnumerable<string> Fabrics => UcxFabric.All;

    public static Task<LocalSide> StartAsync(string fabric, TimeSpan? operationTimeout = null) =>
        StartAsync(fabric, o => o.Endpoint.OperationTimeout = operationTimeout ?? o.Endpoint.OperationTimeout);

    /// <summary>Starts the other process, and opens this side.</summary>
    /// <param name="fabric">One of <see cref="UcxFabric.All"/>.</param>
    /// <param name="configure">Changes the options of this side.</param>
    /// <param name="wrapper">The command that starts the other process, such as prlimit.</param>
    /// <param name="peerOptions">Further arguments of the other process.</param>
    public static Task<LocalSide> StartAsync(string fabric, Action<UcxOptions>? configure = null, string[]? wrapper = null, params string[] peerOptions) =>
        LocalSide.MeetAsync(UcxFabric.Open(fabric, configure), new PeerProcess(wrapper ?? [], ["ucx", fabric, "RemoteRead, RemoteWrite", .. peerOptions]));
}
