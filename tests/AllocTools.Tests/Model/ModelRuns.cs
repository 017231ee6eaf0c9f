using System.Globalization;

namespace AllocTools.Tests.Model;

/// <summary>How long random tests go on: for so many scenarios, or the seconds that ALLOCTOOLS_STRESS_SECONDS says.</summary>
internal static class ModelRuns
{
    /// <summary>Seconds; -1 where the number of scenarios rules.</summary>
    public static int Seconds { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_STRESS_SECONDS") is { } seconds
        ? Math.Max(1, (int)double.Parse(seconds, CultureInfo.InvariantCulture))
        : -1;
}
