using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>
/// How an endpoint repeats reads and plain writes that failed for a transient reason. An attempt is repeated only if
/// nothing of it remains (<see cref="RmaOperationException.IsRetryable"/>), and only within the operation's own time-out.
/// </summary>
/// <remarks>docs/operations.md describes which failures are repeated, and why others are not.</remarks>
public sealed class RmaRetryOptions
{
    /// <summary>How often an operation is repeated at most. Range: 1 to 100, or 0 to never repeat one. Default: 0.</summary>
    [OptionRange(0, 100, "retries", LeastMeans = "none")]
    public int MaxRetries { get; set; }

    /// <summary>
    /// The delay before the first retry. Each further delay is twice as long. Each delay is shortened by a
    /// random part of up to half, so that callers that failed together do not retry together. Range: 1 ms to 1
    /// min. Default: 10 ms.
    /// </summary>
    [OptionTimeRange(1, 60_000)]
    public TimeSpan Delay { get; set; } = TimeSpan.FromMilliseconds(10);

    /// <summary>The longest delay. Range: 1 ms to 1 h; at least Delay. Default: 1 s.</summary>
    [OptionTimeRange(1, 3_600_000)]
    public TimeSpan MaxDelay { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Returns a copy.</summary>
    internal RmaRetryOptions Copy() => (RmaRetryOptions)MemberwiseClone();
}
