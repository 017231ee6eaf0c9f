using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>A request that waits for memory to be registered for it, or for room at the cap.</summary>
internal sealed class Waiter : TaskCompletionSource<RmaBuffer>
{
    // The caller's, with the owner's name and the span for what is recorded.
    private readonly ExecutionContext? _context = ExecutionContext.Capture();

    // A caller that awaits goes on elsewhere; one that blocks is released by the thread that completes the waiter.
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

    /// <summary>What is registered for it at the least.</summary>
    public long Bytes { get; }

    /// <summary>The timestamp of its coming.</summary>
    public long Since { get; }

    /// <summary>How long it waits.</summary>
    public required TimeSpan Timeout { get; init; }

    /// <summary>It is refused where there is no room, as a rent that does not wait.</summary>
    public bool IsImpatient { get; init; }

    /// <summary>Its place among all that ever stood in line. 0: it was never in line.</summary>
    public long Number { get; set; }

    /// <summary>Its place in line among the waiters of its class, or among those that the <see cref="Registrar"/> serves; in no list when it waits no longer. Guarded by the queue's lock.</summary>
    public LinkedListNode<Waiter> Place { get; }

    /// <summary>Its place among the waiters by their <see cref="Deadline"/>. Guarded by the queue's lock.</summary>
    public LinkedListNode<Waiter> PlaceInTime { get; }

    /// <summary>The timestamp at which its time is up.</summary>
    public long Deadline { get; set; }

    /// <summary>What it is timed by, where the clock is not the system's.</summary>
    public ITimer? Timer { get; set; }

    public CancellationTokenRegistration Cancellation { get; set; }

    /// <summary>The caller's span: what is registered for it is a child of that.</summary>
    public Activity? Span { get; } = Activity.Current;

    /// <summary>How often a younger request was served first while it was the first of its class.</summary>
    public int Overtaken { get; set; }

    /// <summary>Ends what would end the wait. The waiter has been taken out before.</summary>
    public void StopWatching()
    {
        Timer?.Dispose();
        Cancellation.Unregister();
    }

    /// <summary>Runs something with the owner's name and the span of the caller that waits, not of the thread that serves it.</summary>
    public void InContext(Action action)
    {
        if (_context is { } context)
            ExecutionContext.Run(context, static run => ((Action)run!)(), action);
        else
            action();
    }
}
