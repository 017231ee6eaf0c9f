using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Sources;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Runs the code after an await on the thread that made the progress: after its turn, and never inside another
/// continuation.
/// </summary>
/// <remarks>
/// Continuations of operations whose end was not found by a turn, such as those that were ended by closing, run on the
/// thread pool.
/// </remarks>
internal sealed class InlineContinuation : IThreadPoolWorkItem
{
    /// <summary>Called with the continuation when its task ends.</summary>
    public static readonly Action<object?> Due = static continuation => ((InlineContinuation)continuation!).Schedule();

    [ThreadStatic]
    private static Queue<IThreadPoolWorkItem>? t_due;

    [ThreadStatic]
    private static int t_turns;

    [ThreadStatic]
    private static bool t_isRunning;

    private Action<object?>? _continuation;
    private object? _state;
    private ExecutionContext? _context;

    /// <summary>Whether this thread is inside a turn.</summary>
    public static bool IsInTurn => t_turns > 0;

    /// <summary>Begins a turn on this thread. Continuations that become due wait for its end.</summary>
    public static void BeginTurn() => t_turns++;

    /// <summary>Ends this thread's turn.</summary>
    /// <returns>True if continuations are due, so that the caller must call <see cref="RunDue"/>. False also if the turn was
    /// made by a continuation, which has to end first.</returns>
    public static bool EndTurn()
    {
        t_turns--;
        return !t_isRunning && t_due is { Count: > 0 };
    }

    /// <summary>Runs due continuations, one after the other.</summary>
    public static void RunDue()
    {
        if (t_isRunning || t_due is not { Count: > 0 } due)
            return;
        // The queued continuations have no synchronization context; those with one are not queued here.
        SynchronizationContext? context = SynchronizationContext.Current;
        if (context is not null)
            SynchronizationContext.SetSynchronizationContext(null);
        t_isRunning = true;
        while (due.TryDequeue(out IThreadPoolWorkItem? continuation))
            continuation.Execute();
        t_isRunning = false;
        if (context is not null)
            SynchronizationContext.SetSynchronizationContext(context);
    }

    /// <summary>Queues due continuations to the thread pool.</summary>
    public static void HandOverDue()
    {
        while (t_due is { } due && due.TryDequeue(out IThreadPoolWorkItem? continuation))
            ThreadPool.UnsafeQueueUserWorkItem(continuation, preferLocal: false);
    }

    /// <summary>Stores the continuation.</summary>
    /// <returns>False if the caller's context runs it.</returns>
    /// <exception cref="InvalidOperationException">The task is awaited already.</exception>
    public bool TrySet(Action<object?> continuation, object? state, ValueTaskSourceOnCompletedFlags flags)
    {
        if (flags.HasFlag(ValueTaskSourceOnCompletedFlags.UseSchedulingContext) && HasSchedulingContext())
            return false;
        if (Interlocked.CompareExchange(ref _continuation, continuation, null) is not null)
            throw new InvalidOperationException("The ValueTask of this operation is awaited already. Await it once; to await it several times turn it into a Task with AsTask() first.");
        _state = state;
        _context = flags.HasFlag(ValueTaskSourceOnCompletedFlags.FlowExecutionContext) ? ExecutionContext.Capture() : null;
        return true;
    }

    /// <summary>Removes the continuation, because the task has refused it.</summary>
    public void Clear() => Volatile.Write(ref _continuation, null);

    /// <inheritdoc/>
    public void Execute()
    {
        Action<object?> continuation = _continuation!;
        object? state = _state;
        ExecutionContext? context = _context;
        _state = null;
        _context = null;
        // Cleared last, because from here on the task may be awaited again.
        Volatile.Write(ref _continuation, null);
        try
        {
            if (context is null)
                continuation(state);
            else
                ExecutionContext.Run(context, continuation.Invoke, state);
        }
        catch (Exception e)
        {
            // All exceptions are caught: they belong to the application, and end the process as they would on the thread pool.
            ThrowOnPool(e);
        }
    }

    /// <summary>
    /// Whether the current context or scheduler must run the continuation. Checked like in ManualResetValueTaskSourceCore,
    /// which would run a continuation without one immediately, inside the turn.
    /// </summary>
    private static bool HasSchedulingContext() =>
        (SynchronizationContext.Current is { } context && context.GetType() != typeof(SynchronizationContext)) || TaskScheduler.Current != TaskScheduler.Default;

    private void Schedule() => Schedule(this);

    /// <summary>
    /// Runs a work item after this thread's current turn, or on the thread pool if the thread is not in a turn. The item
    /// must not throw.
    /// </summary>
    public static void Schedule(IThreadPoolWorkItem item)
    {
        if (t_turns > 0)
            (t_due ??= new Queue<IThreadPoolWorkItem>()).Enqueue(item);
        else
            ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);
    }

    /// <summary>Throws an exception of the application's code on the thread pool, which ends the process.</summary>
    public static void ThrowOnPool(Exception error) =>
        ThreadPool.UnsafeQueueUserWorkItem(static e => e.Throw(), ExceptionDispatchInfo.Capture(error), preferLocal: false);
}
