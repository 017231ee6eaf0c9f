using System.Globalization;

namespace AllocTools.Testing;

/// <summary>Time-outs of the tests, for machines of any speed.</summary>
public static class TestTime
{
    private const string Variable = "ALLOCTOOLS_TIME_FACTOR";

    /// <summary>How many times longer a time-out is than on an ordinary machine, where an emulated one needs that; else 1.</summary>
    public static double Factor { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } text
        ? double.Parse(text, CultureInfo.InvariantCulture)
        : 1;

    public static TimeSpan Seconds(double seconds) => TimeSpan.FromSeconds(seconds * Factor);
}
