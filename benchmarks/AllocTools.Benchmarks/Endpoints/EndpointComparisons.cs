using AllocTools.Benchmarks.Pairs;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The rows of the endpoint against the same loop in C.</summary>
internal static class EndpointComparisons
{
    private const string Against = "the same loop in C";
    private const int LargestWindow = 64;
    private const int LargestTransfer = 4 << 20;

    // 0.95 times the bandwidth.
    private const double TransferGoal = 1 / 0.95;
    private const double PingPongGoal = 1.1;

    public static IEnumerable<Comparison> All(bool isQuick)
    {
        int[] sizes = isQuick ? [64, 1 << 20] : [64, 4 << 10, 64 << 10, 1 << 20];
        foreach (string provider in new[] { "tcp;ofi_rxm", "shm" })
        {
            foreach (int size in sizes)
                yield return Row("write", provider, size, LoopKind.Write, LoopKind.Write, TransferGoal);
            foreach (int size in sizes)
                yield return Row("read", provider, size, LoopKind.Read, LoopKind.Read, TransferGoal);
            foreach (int size in sizes)
                yield return Row("ping-pong", provider, size, LoopKind.PingPong, LoopKind.PingPong, PingPongGoal);
            foreach (int size in new[] { sizes[0], sizes[^1] })
                yield return Row("WriteAsync", provider, size, LoopKind.WriteAsync, LoopKind.Write, null);
            yield return Row("ping-pong by tasks", provider, sizes[0], LoopKind.PingPongAsync, LoopKind.PingPong, null);
        }
    }

    /// <summary>What an application would write without this library, on the same machine.</summary>
    public static IEnumerable<Comparison> AgainstSockets(bool isQuick)
    {
        int[] sizes = isQuick ? [64, 64 << 10, 1 << 20] : [64, 4 << 10, 64 << 10, 1 << 20];
        foreach ((string provider, string socket) in new[] { ("tcp;ofi_rxm", SocketProcess.Tcp), ("shm", SocketProcess.Unix) })
        {
            foreach ((string what, LoopKind kind) in new[] { ("write", LoopKind.Write), ("WriteAsync", LoopKind.WriteAsync), ("ping-pong", LoopKind.PingPong), ("ping-pong by tasks", LoopKind.PingPongAsync) })
            {
                foreach (int size in sizes)
                {
                    LoopArguments arguments = new(provider, IsTarget: false, kind, size, Math.Clamp(LargestTransfer / size, 1, LargestWindow));
                    yield return new Comparison(
                        $"{what}, {provider}, {ByteSize.Text(size)}",
                        () => EndpointWorkload.Own(arguments),
                        $"a {socket}",
                        () => EndpointWorkload.Own(arguments with { Provider = socket }));
                }
            }
        }
    }

    private static Comparison Row(string what, string provider, int size, LoopKind own, LoopKind inC, double? goal)
    {
        int window = Math.Clamp(LargestTransfer / size, 1, LargestWindow);
        LoopArguments arguments = new(provider, IsTarget: false, own, size, window);
        return new Comparison(
            $"{what}, {provider}, {ByteSize.Text(size)}",
            () => EndpointWorkload.Own(arguments),
            Against,
            () => EndpointWorkload.InC(arguments with { Kind = inC }),
            goal);
    }
}
