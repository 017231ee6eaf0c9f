using AllocTools.Benchmarks.Pairs;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The rows that compare the endpoint with the same loop in C, and with sockets.</summary>
internal static class EndpointComparisons
{
    private const string Tcp = "tcp;ofi_rxm";
    private const string Shm = "shm";
    private const int Small = 64;
    private const int Page = 4 << 10;
    private const int Large = 1 << 20;

    // The goal is 0.95 times the bandwidth.
    private const double TransferGoal = 1 / 0.95;
    private const double PingPongGoal = 1.1;

    public static IEnumerable<Comparison> AgainstC(bool isQuick)
    {
        int[] sizes = isQuick ? [Small, Large] : [Small, Page, 64 << 10, Large];
        foreach (string provider in new[] { Tcp, Shm })
        {
            foreach (int size in sizes)
                yield return InC("write", new(provider, LoopKind.Write, size), LoopKind.Write, TransferGoal);
            foreach (int size in sizes)
                yield return InC("read", new(provider, LoopKind.Read, size), LoopKind.Read, TransferGoal);
            foreach (int size in sizes)
                yield return InC("ping-pong", new(provider, LoopKind.PingPong, size), LoopKind.PingPong, PingPongGoal);
            yield return InC("WriteAsync", new(provider, LoopKind.WriteAsync, Small), LoopKind.Write, provider == Tcp ? 1.3 : null);
            yield return InC("WriteAsync", new(provider, LoopKind.WriteAsync, Large), LoopKind.Write, 1.1);
            yield return InC("64 tasks, a write each", new(provider, LoopKind.WriteByTasks, Small), LoopKind.Write, null);
            yield return InC($"a batch of {LoopArguments.BatchLength:N0} writes", new(provider, LoopKind.Batch, Page), LoopKind.Batch, 1.1);
            yield return InC("ping-pong by tasks", new(provider, LoopKind.PingPongAsync, Small), LoopKind.PingPongAsync, provider == Tcp ? 1.3 : 1.5);
            yield return InC("ping-pong by tasks, inline", new LoopArguments(provider, LoopKind.PingPongAsync, Small) with { IsInline = true }, LoopKind.PingPongAsync, provider == Tcp ? 1.3 : 1.5);
            yield return InC("ping-pong by notified writes", new(provider, LoopKind.NotifiedPingPong, Small), LoopKind.PingPongAsync, null);
        }
    }

    /// <summary>The rows for UCX. On both sides a write is a put and a flush.</summary>
    public static IEnumerable<Comparison> UcxAgainstC(bool isQuick)
    {
        int[] sizes = isQuick ? [Small, Large] : [Small, Page, 64 << 10, Large];
        foreach (string provider in new[] { "ucx;tcp", "ucx;shm" })
        {
            foreach (int size in sizes)
                yield return InC("put", new(provider, LoopKind.Write, size), LoopKind.Write, PingPongGoal);
            foreach (int size in sizes)
                yield return InC("get", new(provider, LoopKind.Read, size), LoopKind.Read, PingPongGoal);
            foreach (int size in sizes)
                yield return InC("ping-pong", new(provider, LoopKind.PingPong, size), LoopKind.PingPong, PingPongGoal);
            yield return InC($"a batch of {LoopArguments.BatchLength:N0} puts", new(provider, LoopKind.Batch, Page), LoopKind.Batch, PingPongGoal);
            yield return InC("ping-pong by tasks", new(provider, LoopKind.PingPongAsync, Small), LoopKind.PingPongAsync, null);
        }
    }

    /// <summary>The rows for the code that an application would contain without this library, on the same machine.</summary>
    public static IEnumerable<Comparison> AgainstSockets(bool isQuick)
    {
        int[] sizes = isQuick ? [Small, 64 << 10, Large] : [Small, Page, 64 << 10, Large];
        foreach (string provider in new[] { Tcp, Shm })
        {
            foreach (int size in sizes)
                yield return Socket("write", new(provider, LoopKind.Write, size), null);
            foreach (int size in sizes)
                yield return Socket("WriteAsync", new(provider, LoopKind.WriteAsync, size), null);
            foreach (int size in new[] { 64 << 10, Large })
                yield return Socket("one awaited write after the other", new(provider, LoopKind.AwaitedWrite, size), 1);
            foreach (int size in sizes)
                yield return Socket("ping-pong", new(provider, LoopKind.PingPong, size), null);
            foreach (int size in sizes)
                yield return Socket("ping-pong by tasks", new(provider, LoopKind.PingPongAsync, size), size != Small ? null : provider == Tcp ? 0.7 : 0.1);
            yield return Socket("ping-pong by tasks, inline", new LoopArguments(provider, LoopKind.PingPongAsync, Small) with { IsInline = true }, provider == Tcp ? 0.7 : 0.1);
            yield return Socket("one awaited write after the other, inline", new LoopArguments(provider, LoopKind.AwaitedWrite, 64 << 10) with { IsInline = true }, 1);
            yield return Socket("ping-pong by notified writes", new(provider, LoopKind.NotifiedPingPong, Small), null);
            LoopArguments pingPong = new(provider, LoopKind.PingPongAsync, Small);
            yield return Socket("ping-pong by tasks, processors busy", pingPong, null) with { Beside = () => new BusyProcessors() };
            yield return new Comparison(
                Name("ping-pong by tasks, processors busy", pingPong),
                () => EndpointWorkload.Own(pingPong),
                "the same with SpinTime 0",
                () => EndpointWorkload.Own(pingPong with { SpinTime = 0 }),
                1)
            { Beside = () => new BusyProcessors() };
        }
    }

    private static Comparison InC(string what, LoopArguments own, LoopKind inC, double? goal) => new(
        Name(what, own),
        () => EndpointWorkload.Own(own),
        inC == LoopKind.Batch ? own.IsUcx ? "the same loop in C with one flush" : "the same loop in C with FI_MORE" : "the same loop in C",
        () => EndpointWorkload.InC(own with { Kind = inC, IsInline = false }),
        goal);

    private static Comparison Socket(string what, LoopArguments own, double? goal)
    {
        string socket = own.Provider == Tcp ? SocketProcess.Tcp : SocketProcess.Unix;
        return new(Name(what, own), () => EndpointWorkload.Own(own), $"a {socket}", () => EndpointWorkload.Own(own with { Provider = socket, IsInline = false }), goal);
    }

    private static string Name(string what, LoopArguments own) => $"{what}, {own.Provider}, {ByteSize.Text(own.Size)}";
}
