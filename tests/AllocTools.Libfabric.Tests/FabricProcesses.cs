using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric.Tests;

/// <summary>Two processes on a fabric.</summary>
public sealed class FabricProcesses : ITwoProcessTransport
{
    public static IEnumerable<string> Fabrics => Fabric.All;

    public static Task<LocalSide> StartAsync(string fabric, TimeSpan? operationTimeout = null) =>
        StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = operationTimeout ?? o.Endpoint.OperationTimeout);

    /// <summary>Starts the other process, and opens this side.</summary>
    /// <param name="fabric">One of <see cref="Fabric.All"/>.</param>
    /// <param name="peerAccess">The access that the other process's pool allows.</param>
    /// <param name="configure">Changes the options of this side.</param>
    /// <param name="peerOptions">Further arguments of the other process.</param>
    public static Task<LocalSide> StartAsync(
        string fabric,
        RmaAccess peerAccess = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
        Action<LibfabricOptions>? configure = null,
        params string[] peerOptions)
    {
        LoggerFactory logging = new([new TestOutputLogger()]);
        return LocalSide.MeetAsync(Fabric.Open(fabric, configure, logging), new PeerProcess(["fabric", fabric, peerAccess.ToString(), .. peerOptions]), logging);
    }
}
