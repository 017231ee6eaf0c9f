using System.Globalization;

namespace AllocTools.Tests.Model;

/// <summary>How long random tests run: for a number of scenarios, or for the seconds in ALLOCTOOLS_STRESS_SECONDS.</summary>
internal static class ModelRuns
{
    /// <summary>Gets the seconds; -1 if the number of scenarios applies.</summary>
    public static int Seconds { get; } = Environment.GetEnvironmentVariable("ALLOCTOOLS_STRESS_SECONDS") is { } seconds
        ? Math.Max(1, (int)double.Parse(seconds, CultureInfo.InvariantCulture))
        : -1;
}
