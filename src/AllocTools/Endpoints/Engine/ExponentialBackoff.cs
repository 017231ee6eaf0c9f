namespace AllocTools.Endpoints.Engine;

/// <summary>Delays that double with each failure, up to a longest one.</summary>
internal static class ExponentialBackoff
{
    /// <param name="failures">How many failures there have been in a row, 1 or more.</param>
    /// <param name="delay">The delay after the first one.</param>
    /// <param name="maxDelay">The longest delay.</param>
    public static TimeSpan After(int failures, TimeSpan delay, TimeSpan maxDelay)
    {
        double factor = Math.Pow(2, Math.Min(failures - 1, 62));
        return delay.Ticks * factor >= maxDelay.Ticks ? maxDelay : delay * factor;
    }
}
