namespace AllocTools.Endpoints.Engine;

/// <summary>Pauses that double with each failure, up to a longest one.</summary>
internal static class GrowingPause
{
    /// <param name="failures">How many failures there have been in a row, 1 or more.</param>
    /// <param name="first">The pause after the first one.</param>
    /// <param name="longest">The longest pause.</param>
    public static TimeSpan After(int failures, TimeSpan first, TimeSpan longest)
    {
        double factor = Math.Pow(2, Math.Min(failures - 1, 62));
        return first.Ticks * factor >= longest.Ticks ? longest : first * factor;
    }
}
