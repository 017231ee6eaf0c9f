using System.Threading.Tasks.Sources;

namespace AllocTools.Endpoints.Engine;

/// <summary>What a task of the endpoint does when it is awaited: it makes progress first (<see cref="AwaitHelp"/>), then it suspends.</summary>
internal struct Awaiting
{
    private readonly OperationStarter _starter;
    private readonly InlineContinuation? _inline;
    private bool _hasHelped;
    private int _isSuspended;

    public Awaiting(OperationStarter starter, bool runsInline)
    {
        _starter = starter;
        _inline = runsInline ? new InlineContinuation() : null;
    }

    /// <summary>The source of the task.</summary>
    public readonly ManualResetValueTaskSourceCore<T> CreateTask<T>() => new() { RunContinuationsAsynchronously = _inline is null };

    /// <summary>Its task is used anew.</summary>
    public void Begin() => _hasHelped = false;

    /// <summary>It is pending and about to be awaited.</summary>
    /// <returns>True: progress was not made for it yet, and the caller does that now.</returns>
    public bool TryBeginHelp() => !_hasHelped && (_hasHelped = true);

    /// <summary>Its await suspends.</summary>
    public void OnCompleted<T>(ref ManualResetValueTaskSourceCore<T> task, Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        if (Interlocked.Exchange(ref _isSuspended, 1) == 0)
            _starter.OnSuspending();
        if (_inline is null || !_inline.TrySet(continuation, state, flags))
            task.OnCompleted(continuation, state, token, flags);
        else
            task.OnCompleted(InlineContinuation.Due, _inline, token, ValueTaskSourceOnCompletedFlags.None);
    }

    /// <summary>Its result is taken.</summary>
    public void End()
    {
        if (_isSuspended != 0 && Interlocked.Exchange(ref _isSuspended, 0) != 0)
            _starter.OnResumed();
    }
}
