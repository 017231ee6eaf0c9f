namespace AllocTools.Soak;

/// <summary>A line through values over time by least squares, and how reliable its slope is.</summary>
/// <param name="Count">The number of values.</param>
/// <param name="Level">The median of the values.</param>
/// <param name="Slope">How much the line rises in an hour.</param>
/// <param name="Error">The standard error of the slope.</param>
/// <param name="Span">The time from the first value to the last one.</param>
/// <param name="Start">The value of the line at the first time.</param>
/// <remarks>
/// A process keeps what it has allocated for a while, so successive values are similar, and say less than as many
/// independent ones. The usual standard error would then be too small. It is corrected by the lag-1 autocorrelation r
/// of the residuals: n values count as n (1 - r) / (1 + r), if r is positive.
/// </remarks>
internal sealed record Trend(int Count, double Level, double Slope, double Error, TimeSpan Span, double Start)
{
    /// <summary>The minimum number of values: with fewer, a line says nothing.</summary>
    public const int FewestValues = 5;

    /// <summary>Gets how much the line rises from the first value to the last one.</summary>
    public double Growth => Slope * Span.TotalHours;

    /// <summary>Gets the certain part of <see cref="Growth"/>: its lower bound, two standard errors below.</summary>
    public double CertainGrowth => (Slope - 2 * Error) * Span.TotalHours;

    /// <summary>Fits the line.</summary>
    /// <exception cref="ArgumentException">There are too few values.</exception>
    public static Trend Fit(IReadOnlyList<(TimeSpan Time, double Value)> values)
    {
        if (values.Count < FewestValues)
            throw new ArgumentException($"There are {values.Count} values; there must be {FewestValues} at least.", nameof(values));
        int n = values.Count;
        double[] x = [.. values.Select(static v => v.Time.TotalHours)];
        double[] y = [.. values.Select(static v => v.Value)];
        (double meanX, double meanY) = (x.Average(), y.Average());
        double squares = x.Sum(v => (v - meanX) * (v - meanX));
        if (squares == 0)
            throw new ArgumentException("All values are of one time; they must be of several.", nameof(values));
        double slope = x.Zip(y, (a, b) => (a - meanX) * (b - meanY)).Sum() / squares;
        double[] residuals = [.. x.Zip(y, (a, b) => b - meanY - slope * (a - meanX))];
        double sum = residuals.Sum(static r => r * r);
        double lag = sum == 0 ? 0 : Math.Max(0, residuals.Zip(residuals.Skip(1), static (a, b) => a * b).Sum() / sum);
        // A line uses up two degrees of freedom. At least one more is left even if all values are alike, so that the
        // error stays finite.
        double independent = Math.Max(3, n * (1 - lag) / (1 + lag));
        double error = Math.Sqrt(sum / (independent - 2) / squares);
        double[] sorted = [.. y.Order()];
        double level = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
        return new Trend(n, level, slope, error, values[^1].Time - values[0].Time, meanY + slope * (x[0] - meanX));
    }
}
