using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <content>Repeats reads and plain writes, if the options require it.</content>
public partial class RmaEndpoint
{
    // Ends the delays between attempts when the endpoint is closed.
    private readonly CancellationTokenSource _delays = new();

    /// <summary>Starts an operation without a result, and repeats it if it fails for a transient reason.</summary>
    private ValueTask StartRetryable(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (_options.Retry.MaxRetries == 0)
            return StartWithoutResult(operation, timeout, cancellationToken);
        // A usage error is thrown here, as it is without retries.
        long started = _time.GetTimestamp();
        ValueTask first = StartWithoutResult(operation, timeout, cancellationToken);
        return first.IsCompletedSuccessfully ? first : RepeatAsync(first, operation, timeout ?? _options.OperationTimeout, started, cancellationToken);
    }

    private async ValueTask RepeatAsync(ValueTask attempt, RmaOperation operation, TimeSpan limit, long started, CancellationToken cancellationToken)
    {
        for (int attempts = 1; ; attempts++)
        {
            try
            {
                await attempt.ConfigureAwait(false);
                return;
            }
            catch (RmaOperationException e)
            {
                e.Attempts = attempts;
                TimeSpan delay = DelayAfter(attempts);
                if (!e.IsRetryable || attempts > _options.Retry.MaxRetries || RestOf(limit, started) is { } before && before <= delay)
                    throw;
                await DelayAsync(delay, operation, cancellationToken).ConfigureAwait(false);
                TimeSpan? rest = RestOf(limit, started);
                if (rest <= TimeSpan.Zero)
                    throw;
                try
                {
                    attempt = StartWithoutResult(operation, rest ?? Timeout.InfiniteTimeSpan, cancellationToken);
                }
                catch (Exception mistake) when (mistake is ArgumentException or InvalidOperationException)
                {
                    // During the delay, the buffer was returned, the region was disposed, the peer was removed, or the endpoint
                    // was closed. The operation ends with its own error.
                    ExceptionDispatchInfo.Throw(e);
                }
            }
            _counters.Retried(operation.Kind);
        }
    }

    /// <summary>Returns the rest of an operation's time; null if it has no limit.</summary>
    private TimeSpan? RestOf(TimeSpan limit, long started) => limit == Timeout.InfiniteTimeSpan ? null : limit - _time.GetElapsedTime(started);

    /// <exception cref="RmaOperationException">The endpoint was closed meanwhile.</exception>
    /// <exception cref="OperationCanceledException">The caller cancelled the operation.</exception>
    private async Task DelayAsync(TimeSpan delay, RmaOperation operation, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _delays.Token);
        try
        {
            await Task.Delay(delay, _time, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw _errors.EndpointClosed(operation.Kind, operation.Local.Length);
        }
    }

    /// <summary>Returns the delay after a number of attempts, shortened by a random part.</summary>
    private TimeSpan DelayAfter(int attempts)
    {
        RmaRetryOptions retry = _options.Retry;
        TimeSpan whole = ExponentialBackoff.After(attempts, retry.Delay, retry.MaxDelay);
        return whole * (RandomNumberGenerator.GetInt32(512, 1025) / 1024.0);
    }
}
