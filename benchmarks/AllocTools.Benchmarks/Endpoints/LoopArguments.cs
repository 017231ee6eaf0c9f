using System.Globalization;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>What one process of a comparison does. The program in C takes the same command line.</summary>
/// <param name="Provider">libfabric's name of the fabric provider.</param>
/// <param name="IsTarget">It makes progress and answers; else it is the initiator.</param>
/// <param name="Kind">The loop.</param>
/// <param name="Size">Bytes of an operation.</param>
/// <param name="Window">How many operations are outstanding at most.</param>
internal sealed record LoopArguments(string Provider, bool IsTarget, LoopKind Kind, int Size, int Window)
{
    private const string Target = "target";

    private static readonly Dictionary<string, LoopKind> Kinds = new()
    {
        ["write"] = LoopKind.Write,
        ["read"] = LoopKind.Read,
        ["ping-pong"] = LoopKind.PingPong,
        ["write-async"] = LoopKind.WriteAsync,
        ["ping-pong-async"] = LoopKind.PingPongAsync,
    };

    public bool IsPingPong => Kind is LoopKind.PingPong or LoopKind.PingPongAsync;

    public bool IsAsync => Kind is LoopKind.WriteAsync or LoopKind.PingPongAsync;

    public static LoopArguments Parse(ReadOnlySpan<string> arguments) => new(
        arguments[0],
        arguments[1] == Target,
        Kinds[arguments[2]],
        int.Parse(arguments[3], CultureInfo.InvariantCulture),
        int.Parse(arguments[4], CultureInfo.InvariantCulture));

    public string[] ToArray() =>
    [
        Provider,
        IsTarget ? Target : "initiator",
        Kinds.First(k => k.Value == Kind).Key,
        Size.ToString(CultureInfo.InvariantCulture),
        Window.ToString(CultureInfo.InvariantCulture),
    ];
}
