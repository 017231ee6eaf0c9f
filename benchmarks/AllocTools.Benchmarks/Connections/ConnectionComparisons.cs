using AllocTools.Benchmarks.Endpoints;
using AllocTools.Benchmarks.Pairs;

namespace AllocTools.Benchmarks.Connections;

/// <summary>The rows of connections against sockets.</summary>
internal static class ConnectionComparisons
{
    public static IEnumerable<Comparison> All(bool isQuick)
    {
        int[] sizes = isQuick ? [64, 64 << 10, 1 << 20] : [64, 4 << 10, 64 << 10, 1 << 20];
        foreach (string provider in new[] { "shm", "tcp;ofi_rxm" })
        {
            foreach (int size in sizes)
                yield return Of($"connection, ping-pong, {provider}, {ByteSize.Text(size)}", new(ConnectionProcess.Over(provider), LoopKind.PingPongAsync, size), SocketProcess.Tcp, provider == "shm" ? 1 : null);
            foreach (int size in sizes)
                yield return Of($"connection, stream, {provider}, {ByteSize.Text(size)}", new(ConnectionProcess.Over(provider), LoopKind.WriteAsync, size), SocketProcess.Tcp, provider == "shm" && size >= 64 << 10 ? 1 / 1.5 : null);
        }
    }

    private static Comparison Of(string name, LoopArguments own, string socket, double? goal) =>
        new(name, () => EndpointWorkload.Own(own), $"a {socket}", () => EndpointWorkload.Own(own with { Provider = socket }), goal);
}
