using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>A request that waits for memory to be registered for it, or for room at the cap.</summary>
internal sealed class Waiter : TaskCompletionSource<RmaBuffer>
{
    // The caller's context, with the owner's name and the span for what is recorded.
    private readonly ExecutionContext? _context = ExecutionContext.Capture();

    // A caller that awaits continues elsewhere; one that blocks is released by the thread that completes the waiter.
    public Waiter(long length, int classIndex, long bytes, long since)
        : base(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        Length = length;
        ClassIndex = classIndex;
        Bytes = bytes;
        Since = since;
        Place = new LinkedListNode<Waiter>(this);
        PlaceInTime = new LinkedListNode<Waiter>(this);
    }

    public long Length { get; }

    /// <summary>The size class it waits for; the number of classes stands for the direct regions.</summary>
    public int ClassIndex { get; }

    /// <summary>The fewest bytes that are registered for it.</summary>
    public long Bytes { get; }

    /// <summary>The timestamp of its arrival.</summary>
    public long Since { get; }

    /// <summary>How long it may wait.</summary>
    public required TimeSpan Timeout { get; init; }

    /// <summary>Whether it is refused if there is no room, like a rent that does not wait.</summary>
    public bool IsImpatient { get; init; }

    /// <summary>Its place among all waiters that were ever in line; 0 if it was never in line.</summary>
    public long Number { get; set; }

    /// <summary>
    /// Its place in line among the waiters of its class, or among those that the <see cref="Registrar"/> serves. It is
    /// in no list when it no longer waits. Guarded by the queue's lock.
    /// </summary>
    public LinkedListNode<Waiter> Place { get; }

    /// <summary>Its place among the waiters by their <see cref="Deadline"/>. Guarded by the queue's lock.</summary>
    public LinkedListNode<Waiter> PlaceInTime { get; }

    /// <summary>The timestamp at which its time is up.</summary>
    public long Deadline { get; set; }

    /// <summary>Its timer, if the clock is not the system's.</summary>
    public ITimer? Timer { get; set; }

    public CancellationTokenRegistration Cancellation { get; set; }

    /// <summary>The caller's span: the parent of the spans of what is registered for it.</summary>
    public Activity? Span { get; } = Activity.Current;

    /// <summary>How often a younger request was served first while it was the first of its class.</summary>
    public int Overtaken { get; set; }

    /// <summary>Stops the timer and the cancellation. The waiter has been taken out before.</summary>
    public void StopWatching()
    {
        Timer?.Dispose();
        Cancellation.Unregister();
    }

    /// <summary>
    /// Runs an action with the owner's name and the span of the caller that waits, not of the thread that serves it.
    /// </summary>
    public void InContext(Action action)
    {
        if (_context is { } context)
            ExecutionContext.Run(context, static run => ((Action)run!)(), action);
        else
            action();
    }
}
