using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Sources;

namespace AllocTools.Endpoints.Engine;

/// <summary>What goes on after an await, on the thread that has made the progress: after its turn, and never inside another one.</summary>
/// <remarks>Ends that no turn has found, such as those of closing, are continued by the thread pool.</remarks>
internal sealed class InlineContinuation : IThreadPoolWorkItem
{
    /// <summary>Called with the continuation where its task ends.</summary>
    public static readonly Action<object?> Due = static continuation => ((InlineContinuation)continuation!).Schedule();

    [ThreadStatic]
    private static Queue<InlineContinuation>? t_due;

    [ThreadStatic]
    private static int t_turns;

    [ThreadStatic]
    private static bool t_isRunning;

    private Action<object?>? _continuation;
    private object? _state;
    private ExecutionContext? _context;

    /// <summary>This thread begins a turn: what is due in it waits for <see cref="EndTurn"/>.</summary>
    public static void BeginTurn() => t_turns++;

    /// <summary>This thread has ended its turn: runs what is due. Where this is called by such a continuation, that has to end first.</summary>
    public static void EndTurn()
    {
        t_turns--;
        if (t_isRunning || t_due is not { Count: > 0 } due)
            return;
        t_isRunning = true;
        try
        {
            while (due.TryDequeue(out InlineContinuation? continuation))
                continuation.Execute();
        }
        finally
        {
            t_isRunning = false;
        }
    }

    /// <summary>Takes what is to go on.</summary>
    /// <returns>False where the caller's context runs it.</returns>
    /// <exception cref="InvalidOperationException">The task is awaited already.</exception>
    public bool TrySet(Action<object?> continuation, object? state, ValueTaskSourceOnCompletedFlags flags)
    {
        if (flags.HasFlag(ValueTaskSourceOnCompletedFlags.UseSchedulingContext) && (SynchronizationContext.Current is not null || TaskScheduler.Current != TaskScheduler.Default))
            return false;
        if (Interlocked.CompareExchange(ref _continuation, continuation, null) is not null)
            throw new InvalidOperationException("The ValueTask of this operation is awaited already. Await it once; to await it several times turn it into a Task with AsTask() first.");
        _state = state;
        _context = flags.HasFlag(ValueTaskSourceOnCompletedFlags.FlowExecutionContext) ? ExecutionContext.Capture() : null;
        return true;
    }

    /// <inheritdoc/>
    public void Execute()
    {
        Action<object?> continuation = _continuation!;
        object? state = _state;
        ExecutionContext? context = _context;
        _state = null;
        _context = null;
        // Last: from here on the task may be awaited anew.
        Volatile.Write(ref _continuation, null);
        try
        {
            if (context is null)
                continuation(state);
            else
                ExecutionContext.Run(context, s => continuation(s), state);
        }
        catch (Exception e)
        {
            // Of whatever kind: it is the application's, not the endpoint's, and ends the process as it does on the thread pool.
            ThreadPool.UnsafeQueueUserWorkItem(static e => e.Throw(), ExceptionDispatchInfo.Capture(e), preferLocal: false);
        }
    }

    private void Schedule()
    {
        if (t_turns > 0)
            (t_due ??= new Queue<InlineContinuation>()).Enqueue(this);
        else
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }
}
