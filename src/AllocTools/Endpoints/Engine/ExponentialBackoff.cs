namespace AllocTools.Endpoints.Engine;

/// <summary>Computes delays that double with each failure, up to a maximum.</summary>
internal static class ExponentialBackoff
{
    /// <param name="failures">The number of failures in a row, 1 or more.</param>
    /// <param name="delay">The delay after the first failure.</param>
    /// <param name="maxDelay">The longest delay.</param>
    public static TimeSpan After(int failures, TimeSpan delay, TimeSpan maxDelay)
    {
        double factor = Math.Pow(2, Math.Min(failures - 1, 62));
        return delay.Ticks * factor >= maxDelay.Ticks ? maxDelay : delay * factor;
    }
}
