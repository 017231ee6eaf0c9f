using System.Security.Cryptography;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <content>Reads and plain writes are repeated, if the options say so.</content>
public partial class RmaEndpoint
{
    /// <summary>Starts an operation without a result, and repeats it if it fails for a passing reason.</summary>
    private ValueTask StartRepeatable(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (_options.Retry.MaxRetries == 0)
            return StartWithoutResult(operation, timeout, cancellationToken);
        // A mistake of the caller is thrown here, as without retries.
        long started = _time.GetTimestamp();
        ValueTask first = StartWithoutResult(operation, timeout, cancellationToken);
        return first.IsCompletedSuccessfully ? first : RepeatAsync(first, operation, timeout ?? _options.OperationTimeout, started, cancellationToken);
    }

    private async ValueTask RepeatAsync(ValueTask attempt, RmaOperation operation, TimeSpan limit, long started, CancellationToken cancellationToken)
    {
        for (int tries = 1; ; tries++)
        {
            TimeSpan pause, rest;
            try
            {
                await attempt.ConfigureAwait(false);
                return;
            }
            catch (RmaOperationException e)
            {
                e.Tries = tries;
                pause = PauseAfter(tries);
                rest = limit == Timeout.InfiniteTimeSpan ? limit : limit - _time.GetElapsedTime(started) - pause;
                if (!e.IsRepeatable || tries > _options.Retry.MaxRetries || (limit != Timeout.InfiniteTimeSpan && rest <= TimeSpan.Zero))
                    throw;
                await Task.Delay(pause, _time, cancellationToken).ConfigureAwait(false);
                try
                {
                    attempt = StartWithoutResult(operation, rest, cancellationToken);
                }
                catch (Exception mistake) when (mistake is ArgumentException or InvalidOperationException)
                {
                    // The buffer was returned, the region disposed, the peer removed or the endpoint closed during the
                    // pause: the operation ends with its own error.
                    throw e;
                }
            }
            _counters.Retried(operation.Kind);
        }
    }

    /// <summary>The pause after so many tries, of which a random part is left out.</summary>
    private TimeSpan PauseAfter(int tries)
    {
        RmaRetryOptions retry = _options.Retry;
        TimeSpan whole = GrowingPause.After(tries, retry.FirstPause, retry.LongestPause);
        return whole * (RandomNumberGenerator.GetInt32(512, 1025) / 1024.0);
    }
}
