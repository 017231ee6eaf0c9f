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
    private static Queue<IThreadPoolWorkItem>? t_due;

    [ThreadStatic]
    private static int t_turns;

    [ThreadStatic]
    private static bool t_isRunning;

    private Action<object?>? _continuation;
    private object? _state;
    private ExecutionContext? _context;

    /// <summary>This thread is inside a turn.</summary>
    public static bool IsInTurn => t_turns > 0;

    /// <summary>This thread begins a turn: what is due in it waits for its end.</summary>
    public static void BeginTurn() => t_turns++;

    /// <summary>This thread has ended its turn.</summary>
    /// <returns>True: something is due, and the caller calls <see cref="RunDue"/>. Where such a continuation has made the turn, it has to end first.</returns>
    public static bool EndTurn()
    {
        t_turns--;
        return !t_isRunning && t_due is { Count: > 0 };
    }

    /// <summary>Runs what is due, one after the other.</summary>
    public static void RunDue()
    {
        if (t_isRunning || t_due is not { Count: > 0 } due)
            return;
        // Theirs is none: what is to go on in a context is not here.
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

    /// <summary>Leaves what is due to the thread pool.</summary>
    public static void HandOverDue()
    {
        while (t_due is { } due && due.TryDequeue(out IThreadPoolWorkItem? continuation))
            ThreadPool.UnsafeQueueUserWorkItem(continuation, preferLocal: false);
    }

    /// <summary>Takes what is to go on.</summary>
    /// <returns>False where the caller's context runs it.</returns>
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

    /// <summary>Takes it back: the task has refused it.</summary>
    public void Clear() => Volatile.Write(ref _continuation, null);

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
                ExecutionContext.Run(context, continuation.Invoke, state);
        }
        catch (Exception e)
        {
            // Of whatever kind: it is the application's, not the endpoint's, and ends the process as it does on the thread pool.
            ThrowOnPool(e);
        }
    }

    /// <summary>As ManualResetValueTaskSourceCore looks for one: what it finds none for it would run at once, inside the turn.</summary>
    private static bool HasSchedulingContext() =>
        (SynchronizationContext.Current is { } context && context.GetType() != typeof(SynchronizationContext)) || TaskScheduler.Current != TaskScheduler.Default;

    private void Schedule() => Schedule(this);

    /// <summary>Has something run after the turn that this thread is in; on the thread pool where it is in none. It must not throw.</summary>
    public static void Schedule(IThreadPoolWorkItem item)
    {
        if (t_turns > 0)
            (t_due ??= new Queue<IThreadPoolWorkItem>()).Enqueue(item);
        else
            ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);
    }

    /// <summary>An exception of the application's code, which ends the process as it does on the thread pool.</summary>
    public static void ThrowOnPool(Exception error) =>
        ThreadPool.UnsafeQueueUserWorkItem(static e => e.Throw(), ExceptionDispatchInfo.Capture(error), preferLocal: false);
}
