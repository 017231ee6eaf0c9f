using System.Text.Json.Serialization;

namespace AllocTools.Doctor.Bench;

/// <summary>What both sides must agree on.</summary>
/// <param name="Provider">The pool's provider: <c>libfabric</c> or <c>ucx</c>.</param>
/// <param name="Fabric">libfabric's own provider, such as <c>tcp;ofi_rxm</c>; null with another provider.</param>
/// <param name="Layers">What is measured: <c>pool</c>, <c>endpoint</c>, <c>connection</c>.</param>
/// <param name="Sizes">The lengths of a transfer, in bytes.</param>
/// <param name="Window">How many transfers are outstanding at most.</param>
internal sealed record BenchSettings(string Provider, string? Fabric, string[] Layers, int[] Sizes, int Window)
{
    /// <summary>Transfers that are outstanding have no more bytes than this, unless one alone has.</summary>
    public const int MostBytesOutstanding = 16 << 20;

    /// <summary>How many of a size are outstanding.</summary>
    public int WindowOf(int size) => Math.Clamp(MostBytesOutstanding / size, 1, Window);

    /// <summary>The bytes that each side needs for what it sends, and as many for what it receives.</summary>
    [JsonIgnore]
    public int AreaBytes => Sizes.Max(s => s * WindowOf(s));

    /// <summary>What is measured, for people.</summary>
    [JsonIgnore]
    public string Title => Fabric is null ? Provider : $"{Provider} ({Fabric})";

    /// <summary>The arguments that give the other side the same settings.</summary>
    [JsonIgnore]
    public string Arguments => $"{string.Join(' ', Layers)} --provider {Provider}{(Fabric is null ? "" : $" --fabric '{Fabric}'")} --sizes {string.Join(',', Sizes)} --window {Window}";

    /// <summary>In what another side's settings differ; null where they agree.</summary>
    public string? FindDifference(BenchSettings other) =>
        Provider != other.Provider ? Say("--provider", other.Provider, Provider)
        : Fabric != other.Fabric ? Say("--fabric", other.Fabric, Fabric)
        : !Layers.SequenceEqual(other.Layers) ? Say("the layers", string.Join(' ', other.Layers), string.Join(' ', Layers))
        : !Sizes.SequenceEqual(other.Sizes) ? Say("--sizes", string.Join(',', other.Sizes), string.Join(',', Sizes))
        : Window != other.Window ? $"--window {Window} on this side, and {other.Window} on the other one"
        : null;

    private static string Say(string what, string? there, string? here) => $"{what} '{here}' on this side, and '{there}' on the other one";
}

/// <summary>How long each row is measured: this side's own business.</summary>
/// <param name="Iterations">How many iterations; null: as many as the time has room for.</param>
/// <param name="Duration">For how long.</param>
/// <param name="WarmUp">How many iterations before, which are not measured.</param>
internal sealed record BenchLength(int? Iterations, TimeSpan Duration, int WarmUp)
{
    /// <summary>More of a row are not measured: their times must be kept.</summary>
    public const int Most = 10_000_000;

    /// <summary>No row is measured for longer; the other side waits a little longer than that.</summary>
    public static readonly TimeSpan LongestRow = TimeSpan.FromMinutes(30);
}

/// <summary>One side's word to the other: a line of JSON.</summary>
internal sealed record Word
{
    /// <summary>The first word: the version of this library.</summary>
    public string? Version { get; init; }

    /// <summary>With it: the settings.</summary>
    public BenchSettings? Settings { get; init; }

    /// <summary>The endpoint's address, and the memory that is exposed.</summary>
    public byte[]? Address { get; init; }

    /// <inheritdoc cref="Address"/>
    public byte[]? Memory { get; init; }

    /// <summary>Of the target: the port at which it accepts connections over registered memory.</summary>
    public int? Port { get; init; }

    /// <summary>A row begins, of this test; the target answers with the same word once it is ready.</summary>
    public string? Begin { get; init; }

    /// <summary>With it: the length of a transfer.</summary>
    public int Size { get; init; }

    /// <summary>The row has ended; the target answers with the same word once it has stopped.</summary>
    public bool End { get; init; }

    /// <summary>Why this side gives up.</summary>
    public string? Failure { get; init; }
}

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(Word))]
internal sealed partial class WordJson : JsonSerializerContext;

/// <summary>It can't be measured; the message is the line that the user reads.</summary>
internal sealed class BenchException(string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>The other side knows of it: it was notified, or has reported it.</summary>
    public bool IsTold { get; init; }
}
