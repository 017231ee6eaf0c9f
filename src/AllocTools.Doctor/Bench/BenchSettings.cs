using System.Text.Json.Serialization;

namespace AllocTools.Doctor.Bench;

/// <summary>The settings that both sides must agree on.</summary>
/// <param name="Provider">The pool's provider: <c>libfabric</c> or <c>ucx</c>.</param>
/// <param name="Fabric">libfabric's own provider, such as <c>tcp;ofi_rxm</c>; null for another provider.</param>
/// <param name="Layers">The layers to measure: <c>pool</c>, <c>endpoint</c>, <c>connection</c>.</param>
/// <param name="Sizes">The lengths of a transfer, in bytes.</param>
/// <param name="Window">The maximum number of outstanding transfers.</param>
internal sealed record BenchSettings(string Provider, string? Fabric, string[] Layers, int[] Sizes, int Window)
{
    /// <summary>The maximum number of bytes of all outstanding transfers, unless a single transfer is longer.</summary>
    public const int MostBytesOutstanding = 16 << 20;

    /// <summary>Returns the number of transfers of a size that are outstanding.</summary>
    public int WindowOf(int size) => Math.Clamp(MostBytesOutstanding / size, 1, Window);

    /// <summary>The number of bytes that each side needs for sending; it needs as many for receiving.</summary>
    [JsonIgnore]
    public int AreaBytes => Sizes.Max(s => s * WindowOf(s));

    /// <summary>The name of the measurement, for people.</summary>
    [JsonIgnore]
    public string Title => Fabric is null ? Provider : $"{Provider} ({Fabric})";

    /// <summary>The arguments that give the other side the same settings.</summary>
    [JsonIgnore]
    public string Arguments => $"{string.Join(' ', Layers)} --provider {Provider}{(Fabric is null ? "" : $" --fabric '{Fabric}'")} --sizes {string.Join(',', Sizes)} --window {Window}";

    /// <summary>Describes a difference of another side's settings; null if they agree.</summary>
    public string? FindDifference(BenchSettings other) =>
        Provider != other.Provider ? Say("--provider", other.Provider, Provider)
        : Fabric != other.Fabric ? Say("--fabric", other.Fabric, Fabric)
        : !Layers.SequenceEqual(other.Layers) ? Say("the layers", string.Join(' ', other.Layers), string.Join(' ', Layers))
        : !Sizes.SequenceEqual(other.Sizes) ? Say("--sizes", string.Join(',', other.Sizes), string.Join(',', Sizes))
        : Window != other.Window ? $"--window {Window} on this side, and {other.Window} on the other one"
        : null;

    private static string Say(string what, string? there, string? here) => $"{what} '{here}' on this side, and '{there}' on the other one";
}

/// <summary>The length of the measurement of each row, which each side chooses for itself.</summary>
/// <param name="Iterations">The number of iterations; null for as many as fit into the time.</param>
/// <param name="Duration">The time of the measurement.</param>
/// <param name="WarmUp">The number of preceding iterations that are not measured.</param>
internal sealed record BenchLength(int? Iterations, TimeSpan Duration, int WarmUp)
{
    /// <summary>The maximum number of measured iterations of a row, because their times must be kept.</summary>
    public const int Most = 10_000_000;

    /// <summary>The longest measurement of a row; the other side waits a little longer than that.</summary>
    public static readonly TimeSpan LongestRow = TimeSpan.FromMinutes(30);
}

/// <summary>A message of one side to the other: a line of JSON.</summary>
internal sealed record Word
{
    /// <summary>In the first word: the version of this library.</summary>
    public string? Version { get; init; }

    /// <summary>In the first word: the settings.</summary>
    public BenchSettings? Settings { get; init; }

    /// <summary>The endpoint's address, and the exposed memory.</summary>
    public byte[]? Address { get; init; }

    /// <inheritdoc cref="Address"/>
    public byte[]? Memory { get; init; }

    /// <summary>From the target: the port at which it accepts connections over registered memory.</summary>
    public int? Port { get; init; }

    /// <summary>A row of this test begins; the target answers with the same word once it is ready.</summary>
    public string? Begin { get; init; }

    /// <summary>For the row that begins: the length of a transfer.</summary>
    public int Size { get; init; }

    /// <summary>The row has ended; the target answers with the same word once it has stopped.</summary>
    public bool End { get; init; }

    /// <summary>Why this side gives up.</summary>
    public string? Failure { get; init; }
}

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(Word))]
internal sealed partial class WordJson : JsonSerializerContext;

/// <summary>Thrown if something can't be measured; the message is the line that the user reads.</summary>
internal sealed class BenchException(string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>Whether the other side knows of the failure, because it was notified or has reported it.</summary>
    public bool IsTold { get; init; }
}
