using System.Globalization;

namespace AllocTools.Testing;

/// <summary>Timeouts of the tests, for machines of any speed.</summary>
public static class TestTime
{
    private const string Variable = "ALLOCTOOLS_TIME_FACTOR";

    /// <summary>
    /// Gets the factor by which timeouts are longer than on an ordinary machine, for emulated machines; otherwise 1.
    /// </summary>
    public static double Factor { get; } = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } text
        ? double.Parse(text, CultureInfo.InvariantCulture)
        : 1;

    public static TimeSpan Seconds(double seconds) => TimeSpan.FromSeconds(seconds * Factor);
}
