using System.Globalization;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The task of one process of a comparison. The program in C accepts the same command line.</summary>
/// <param name="Provider">libfabric's name of the fabric provider; or ucx and the transports that UCX may use,
/// separated by a semicolon.</param>
/// <param name="IsTarget">Whether the process makes progress and answers; otherwise it is the initiator.</param>
/// <param name="Kind">The loop.</param>
/// <param name="Size">The bytes of an operation.</param>
/// <param name="Window">The maximum number of outstanding operations.</param>
/// <param name="SpinTime">The endpoint's spin time in µs; null for its default. Not for the program in C.</param>
/// <param name="IsInline">Whether the endpoint's thread runs the continuations of awaited operations. Not for the
/// program in C.</param>
internal sealed record LoopArguments(string Provider, bool IsTarget, LoopKind Kind, int Size, int Window, int? SpinTime = null, bool IsInline = false)
{
    /// <summary>The number of writes in a batch.</summary>
    public const int BatchLength = 1_000;

    private const string Ucx = "ucx;";
    private const string Target = "target";
    private const string Inline = "inline";
    private const int LargestWindow = 64;
    private const int LargestTransfer = 4 << 20;

    private static readonly Dictionary<string, LoopKind> Kinds = new()
    {
        ["write"] = LoopKind.Write,
        ["read"] = LoopKind.Read,
        ["ping-pong"] = LoopKind.PingPong,
        ["write-async"] = LoopKind.WriteAsync,
        ["ping-pong-async"] = LoopKind.PingPongAsync,
        ["awaited-write"] = LoopKind.AwaitedWrite,
        ["write-by-tasks"] = LoopKind.WriteByTasks,
        ["batch"] = LoopKind.Batch,
        ["ping-pong-notified"] = LoopKind.NotifiedPingPong,
        ["stream"] = LoopKind.Stream,
        ["stream-from-pool"] = LoopKind.PoolStream,
    };

    /// <summary>Whether UCX is used.</summary>
    public bool IsUcx => Provider.StartsWith(Ucx, StringComparison.Ordinal);

    /// <summary>The transports that UCX may use.</summary>
    public string UcxTransports => Provider[Ucx.Length..];

    /// <summary>Creates the arguments of an initiator.</summary>
    public LoopArguments(string provider, LoopKind kind, int size)
        : this(provider, IsTarget: false, kind, size, kind == LoopKind.Batch ? BatchLength : Math.Clamp(LargestTransfer / size, 1, LargestWindow))
    {
    }

    public bool IsPingPong => Kind is LoopKind.PingPong or LoopKind.PingPongAsync or LoopKind.NotifiedPingPong;

    public bool IsAsync => Kind is not (LoopKind.Write or LoopKind.Read or LoopKind.PingPong);

    /// <summary>Whether the target awaits, too, or leaves progress to its endpoint; otherwise it polls, like the one in C.</summary>
    public bool TargetAwaits => Kind is LoopKind.PingPongAsync or LoopKind.NotifiedPingPong or LoopKind.AwaitedWrite or LoopKind.Stream or LoopKind.PoolStream;

    /// <summary>Whether the process makes progress itself, on its main thread.</summary>
    public bool Polls => IsTarget ? !TargetAwaits : !IsAsync;

    public static LoopArguments Parse(ReadOnlySpan<string> arguments) => new(
        arguments[0],
        arguments[1] == Target,
        Kinds[arguments[2]],
        int.Parse(arguments[3], CultureInfo.InvariantCulture),
        int.Parse(arguments[4], CultureInfo.InvariantCulture),
        arguments.Length > 5 && arguments[5] != Inline ? int.Parse(arguments[5], CultureInfo.InvariantCulture) : null,
        arguments[^1] == Inline);

    public string[] ToArray() =>
    [
        Provider,
        IsTarget ? Target : "initiator",
        Kinds.First(k => k.Value == Kind).Key,
        Size.ToString(CultureInfo.InvariantCulture),
        Window.ToString(CultureInfo.InvariantCulture),
        .. SpinTime is int spin ? [spin.ToString(CultureInfo.InvariantCulture)] : Array.Empty<string>(),
        .. IsInline ? [Inline] : Array.Empty<string>(),
    ];
}
