using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>The waiting call of a pipe's end: a read or a flush, one at a time. Awaiting it allocates nothing.</summary>
/// <param name="owner">Runs continuations.</param>
/// <param name="gate">The lock of that end.</param>
/// <param name="takeResult">Returns the call's result; called without the lock.</param>
/// <param name="what">The name of the call, for errors.</param>
internal sealed class PipeWait<TResult>(IRingOwner owner, Lock gate, Func<TResult> takeResult, string what) : IValueTaskSource<TResult>, IThreadPoolWorkItem
{
    private static readonly Action<object?, CancellationToken> OnCancelled = static (wait, token) => ((PipeWait<TResult>)wait!).Cancel(token);

    private ManualResetValueTaskSourceCore<bool> _wake;
    private CancellationToken _token;
    private CancellationToken _cancelledBy;
    private CancellationTokenRegistration _registration;

    /// <summary>Whether a call waits. The caller must hold the lock.</summary>
    public bool IsActive { get; private set; }

    /// <summary>
    /// Whether the waiting call, or else the next one, ends because of CancelPendingRead or CancelPendingFlush. The
    /// caller must hold the lock.
    /// </summary>
    public bool IsCancelPending { get; set; }

    public void ThrowIfActive_NeedsLock()
    {
        if (IsActive)
            throw new InvalidOperationException($"A {what} of this connection is pending already.");
    }

    /// <summary>Called when a call begins to wait. The caller must then call <see cref="Await"/> outside the lock.</summary>
    public short Begin_NeedsLock(CancellationToken cancellationToken)
    {
        IsActive = true;
        _token = cancellationToken;
        _wake.Reset();
        return _wake.Version;
    }

    public ValueTask<TResult> Await(short version, CancellationToken cancellationToken)
    {
        // A callback that runs immediately finds the wait.
        if (cancellationToken.CanBeCanceled)
            _registration = cancellationToken.UnsafeRegister(OnCancelled, this);
        return new ValueTask<TResult>(this, version);
    }

    /// <summary>Ends the wait, if there is one and it is time.</summary>
    /// <returns>True: the caller must call <see cref="Schedule"/> outside the lock.</returns>
    public bool TryEnd_NeedsLock(bool isDue)
    {
        if (!IsActive || !(isDue || IsCancelPending || _cancelledBy.CanBeCanceled))
            return false;
        IsActive = false;
        return true;
    }

    /// <summary>Continues the application's code.</summary>
    public void Schedule() => owner.Schedule(this);

    /// <summary>Cancels the waiting call, or else the next one, as PipeReader and PipeWriter document it.</summary>
    public void CancelPending()
    {
        bool ends;
        lock (gate)
        {
            IsCancelPending = true;
            ends = TryEnd_NeedsLock(isDue: true);
        }
        if (ends)
            Schedule();
    }

    TResult IValueTaskSource<TResult>.GetResult(short token)
    {
        _wake.GetResult(token);
        _registration.Unregister();
        _registration = default;
        lock (gate)
        {
            if (_cancelledBy.CanBeCanceled)
            {
                CancellationToken by = _cancelledBy;
                _cancelledBy = default;
                throw new OperationCanceledException(by);
            }
        }
        return takeResult();
    }

    ValueTaskSourceStatus IValueTaskSource<TResult>.GetStatus(short token) => _wake.GetStatus(token);

    void IValueTaskSource<TResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wake.OnCompleted(continuation, state, token, flags);

    void IThreadPoolWorkItem.Execute()
    {
        try
        {
            _wake.SetResult(true);
        }
        catch (Exception e)
        {
            // All exceptions are caught, because they come from the application.
            InlineContinuation.ThrowOnPool(e);
        }
    }

    private void Cancel(CancellationToken token)
    {
        bool ends;
        lock (gate)
        {
            if (!IsActive || token != _token)
                return;
            _cancelledBy = token;
            ends = TryEnd_NeedsLock(isDue: true);
        }
        if (ends)
            Schedule();
    }
}
