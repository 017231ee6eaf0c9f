using System.Diagnostics;
using System.Globalization;
using AllocTools.Validation;

namespace AllocTools.Doctor.Bench;

/// <summary>The time that each iteration of a row took.</summary>
internal sealed class IterationTimes
{
    private long[] _ticks = new long[1024];

    public int Count { get; private set; }

    public void Add(long ticks)
    {
        if (Count == _ticks.Length)
            Array.Resize(ref _ticks, 2 * Count);
        _ticks[Count++] = ticks;
    }

    /// <summary>Returns the percentiles and the mean of the times, in microseconds of a part of an iteration.</summary>
    /// <param name="parts">The number of transfers in an iteration.</param>
    public LatencyColumns ToColumns(double parts)
    {
        Span<long> sorted = _ticks.AsSpan(0, Count);
        sorted.Sort();
        double sum = 0;
        foreach (long ticks in sorted)
            sum += ticks;
        double scale = 1e6 / Stopwatch.Frequency / parts;
        return new LatencyColumns(At(sorted, 0.5) * scale, At(sorted, 0.9) * scale, At(sorted, 0.99) * scale, At(sorted, 0.999) * scale, sum / Math.Max(1, Count) * scale);

        // Returns the smallest time such that the given part of all times is not longer.
        static long At(ReadOnlySpan<long> sorted, double part) => sorted.IsEmpty ? 0 : sorted[Math.Clamp((int)Math.Ceiling(part * sorted.Length) - 1, 0, sorted.Length - 1)];
    }
}

/// <summary>Times of a transfer, in microseconds: those of ucx_perftest, with more percentiles.</summary>
/// <param name="P50">The median, which ucx_perftest calls "typical".</param>
/// <param name="P90">The 90th percentile.</param>
/// <param name="P99">The 99th percentile.</param>
/// <param name="P999">The 99.9th percentile.</param>
/// <param name="Average">The mean.</param>
internal sealed record LatencyColumns(double P50, double P90, double P99, double P999, double Average);

/// <summary>A row of the report: the columns of fabtests, and those of ucx_perftest.</summary>
/// <param name="Test">The name of the test, such as <c>write</c>.</param>
/// <param name="Bytes">The length of a transfer.</param>
/// <param name="Window">The maximum number of outstanding transfers.</param>
/// <param name="Iterations">The number of measured iterations.</param>
/// <param name="TransfersPerIteration">The number of transfers in an iteration; 2 for there and back.</param>
/// <param name="Seconds">The total time of the iterations.</param>
/// <param name="Latency">Times of a transfer.</param>
internal sealed record Row(string Test, int Bytes, int Window, int Iterations, int TransfersPerIteration, double Seconds, LatencyColumns Latency)
{
    /// <summary>The layer that is measured: the pool, an endpoint, or a connection.</summary>
    public string Layer => Measurements.LayerOf(Test);

    private double Transfers => (double)Iterations * TransfersPerIteration;

    /// <summary>The bytes that were transferred.</summary>
    public long TotalBytes => (long)Bytes * Iterations * TransfersPerIteration;

    /// <summary>The bandwidth in MB/sec, of 10^6 bytes each.</summary>
    public double MegabytesPerSecond => TotalBytes / Seconds / 1e6;

    /// <summary>usec/xfer: the total time divided by the number of transfers, which is ucx_perftest's "overall" latency.</summary>
    public double MicrosecondsPerTransfer => Seconds * 1e6 / Transfers;

    /// <summary>Mxfers/sec; multiplied by 10^6, this is ucx_perftest's message rate.</summary>
    public double MegatransfersPerSecond => Transfers / Seconds / 1e6;

    /// <summary>The names of the columns.</summary>
    public static IReadOnlyList<string> Columns { get; } =
        ["layer", "test", "bytes", "window", "iters", "total", "time", "MB/sec", "usec/xfer", "Mxfers/sec", "p50", "p90", "p99", "p99.9", "average"];

    /// <summary>Returns the columns for people. For rents, a rate in bytes would be meaningless.</summary>
    public string[] ToTexts() =>
    [
        Layer, Test, Short(Bytes), Number(Window), Number(Iterations), InWords.About(TotalBytes), $"{Text(Seconds, "0.00")}s", Measurements.IsLocal(Test) ? "-" : Text(MegabytesPerSecond, "0.00"), Microseconds(MicrosecondsPerTransfer),
        Text(MegatransfersPerSecond, "0.000"), Microseconds(Latency.P50), Microseconds(Latency.P90), Microseconds(Latency.P99), Microseconds(Latency.P999), Microseconds(Latency.Average),
    ];

    /// <summary>Returns the columns for programs: times to a nanosecond, bandwidth to a kB/sec.</summary>
    public string[] ToFields() =>
    [
        Layer, Test, Number(Bytes), Number(Window), Number(Iterations), Number(TotalBytes), Text(Seconds, "0.000000"), Text(MegabytesPerSecond, "0.000"), Text(MicrosecondsPerTransfer, "0.000"),
        Text(MegatransfersPerSecond, "0.000000"), Text(Latency.P50, "0.000"), Text(Latency.P90, "0.000"), Text(Latency.P99, "0.000"), Text(Latency.P999, "0.000"), Text(Latency.Average, "0.000"),
    ];

    /// <summary>Formats a size as fabtests does: 64, 4k, 1m.</summary>
    public static string Short(long number) =>
        number != 0 && number % (1 << 30) == 0 ? Number(number >> 30) + "g"
        : number != 0 && number % (1 << 20) == 0 ? Number(number >> 20) + "m"
        : number != 0 && number % (1 << 10) == 0 ? Number(number >> 10) + "k"
        : Number(number);

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Microseconds(double value) => Text(value, value < 10 ? "0.000" : "0.00");
}
