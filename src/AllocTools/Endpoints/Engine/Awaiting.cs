using System.Threading.Tasks.Sources;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Defines what an endpoint's task does when it is awaited: it first makes progress (<see cref="AwaitHelp"/>), and then
/// suspends.
/// </summary>
internal struct Awaiting
{
    private readonly OperationStarter _starter;
    private readonly InlineContinuation? _inline;
    private bool _hasHelped;
    private int _owner;
    private int _isSuspended;

    public Awaiting(OperationStarter starter, bool runsInline)
    {
        _starter = starter;
        _inline = runsInline ? new InlineContinuation() : null;
    }

    /// <summary>Creates the source of the task.</summary>
    public readonly ManualResetValueTaskSourceCore<T> CreateTask<T>() => new() { RunContinuationsAsynchronously = _inline is null };

    /// <summary>Starts a new use of the task.</summary>
    /// <param name="version">The task's version.</param>
    public void Begin(short version)
    {
        _hasHelped = false;
        Volatile.Write(ref _owner, OwnerOf(version));
    }

    /// <summary>Called when the task is pending and about to be awaited.</summary>
    /// <returns>True if no progress was made for it yet, so that the caller must make it now.</returns>
    public bool TryBeginHelp() => !_hasHelped && (_hasHelped = true);

    /// <summary>Called when an await of the task suspends.</summary>
    public void OnCompleted<T>(ref ManualResetValueTaskSourceCore<T> task, Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        if (Interlocked.Exchange(ref _isSuspended, 1) == 0)
            _starter.OnSuspending();
        if (_inline is null || !_inline.TrySet(continuation, state, flags))
            task.OnCompleted(continuation, state, token, flags);
        else
            OnCompletedInline(ref task, _inline, token);
    }

    private static void OnCompletedInline<T>(ref ManualResetValueTaskSourceCore<T> task, InlineContinuation inline, short token)
    {
        try
        {
            task.OnCompleted(InlineContinuation.Due, inline, token, ValueTaskSourceOnCompletedFlags.None);
        }
        catch
        {
            inline.Clear();
            throw;
        }
    }

    /// <summary>Called when the result is taken.</summary>
    /// <returns>False if it was already taken, possibly at the same time; the task may have a new use by now.</returns>
    public bool TryEnd(short token)
    {
        if (Interlocked.CompareExchange(ref _owner, 0, OwnerOf(token)) != OwnerOf(token))
            return false;
        if (_isSuspended != 0 && Interlocked.Exchange(ref _isSuspended, 0) != 0)
            _starter.OnResumed();
        return true;
    }

    /// <summary>Encodes the version whose await may take the result. Never 0, which stands for none.</summary>
    private static int OwnerOf(short version) => (1 << 16) | (ushort)version;
}
