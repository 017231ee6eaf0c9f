using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <content>Reads and plain writes are repeated, if the options say so.</content>
public partial class RmaEndpoint
{
    // Ends the pauses between attempts when the endpoint is closed.
    private readonly CancellationTokenSource _pauses = new();

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
            try
            {
                await attempt.ConfigureAwait(false);
                return;
            }
            catch (RmaOperationException e)
            {
                e.Tries = tries;
                TimeSpan pause = PauseAfter(tries);
                if (!e.IsRepeatable || tries > _options.Retry.MaxRetries || RestOf(limit, started) is { } before && before <= pause)
                    throw;
                await PauseAsync(pause, operation, cancellationToken).ConfigureAwait(false);
                TimeSpan? rest = RestOf(limit, started);
                if (rest <= TimeSpan.Zero)
                    throw;
                try
                {
                    attempt = StartWithoutResult(operation, rest ?? Timeout.InfiniteTimeSpan, cancellationToken);
                }
                catch (Exception mistake) when (mistake is ArgumentException or InvalidOperationException)
                {
                    // The buffer was returned, the region disposed, the peer removed or the endpoint closed during the
                    // pause: the operation ends with its own error.
                    ExceptionDispatchInfo.Throw(e);
                }
            }
            _counters.Retried(operation.Kind);
        }
    }

    /// <summary>What is left of an operation's time; null if it has no limit.</summary>
    private TimeSpan? RestOf(TimeSpan limit, long started) => limit == Timeout.InfiniteTimeSpan ? null : limit - _time.GetElapsedTime(started);

    /// <exception cref="RmaOperationException">The endpoint was closed meanwhile.</exception>
    /// <exception cref="OperationCanceledException">The caller cancelled the operation.</exception>
    private async Task PauseAsync(TimeSpan pause, RmaOperation operation, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _pauses.Token);
        try
        {
            await Task.Delay(pause, _time, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw _errors.EndpointClosed(operation.Kind, operation.Local.Length);
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
