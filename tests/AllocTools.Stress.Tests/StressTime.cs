using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Stress.Tests;

/// <summary>How long a test runs: 3 s, or the seconds in ALLOCTOOLS_STRESS_SECONDS.</summary>
internal sealed class StressTime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(
        double.Parse(Environment.GetEnvironmentVariable("ALLOCTOOLS_STRESS_SECONDS") ?? "3", CultureInfo.InvariantCulture));

    private readonly long _started = Stopwatch.GetTimestamp();

    public bool IsOver => Stopwatch.GetElapsedTime(_started) > Limit;
}
