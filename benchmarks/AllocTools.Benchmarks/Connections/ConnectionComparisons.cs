using AllocTools.Benchmarks.Endpoints;
using AllocTools.Benchmarks.Pairs;

namespace AllocTools.Benchmarks.Connections;

/// <summary>The rows that compare connections with sockets.</summary>
internal static class ConnectionComparisons
{
    public static IEnumerable<Comparison> All(bool isQuick)
    {
        int[] sizes = isQuick ? [64, 64 << 10, 1 << 20] : [64, 4 << 10, 64 << 10, 1 << 20];
        int[] streamed = [.. sizes, 64 << 20];
        int[] pooled = [.. streamed.Where(static s => s >= 64 << 10)];
        foreach (string provider in new[] { "shm", "tcp;ofi_rxm" })
        {
            foreach (bool isInline in new[] { false, true })
            {
                string inline = isInline ? ", inline" : "";
                foreach (int size in sizes)
                    yield return Of($"connection, ping-pong{inline}, {provider}, {ByteSize.Text(size)}", new LoopArguments(ConnectionProcess.Over(provider), LoopKind.PingPongAsync, size) with { IsInline = isInline }, provider == "shm" ? 1 : null);
                foreach (int size in streamed)
                    yield return Of($"connection, stream{inline}, {provider}, {ByteSize.Text(size)}", new LoopArguments(ConnectionProcess.Over(provider), LoopKind.Stream, size) with { IsInline = isInline }, provider == "shm" && size >= 64 << 10 ? 1 / 1.5 : null);
                foreach (int size in pooled)
                    yield return Of($"connection, stream from the pool's memory{inline}, {provider}, {ByteSize.Text(size)}", new LoopArguments(ConnectionProcess.Over(provider), LoopKind.PoolStream, size) with { IsInline = isInline }, null);
            }
        }
    }

    private static Comparison Of(string name, LoopArguments own, double? goal) =>
        new(name, () => EndpointWorkload.Own(own), $"a {SocketProcess.Tcp}", () => EndpointWorkload.Own(own with { Provider = SocketProcess.Tcp, IsInline = false }), goal);
}
