namespace AllocTools.Endpoints;

/// <summary>Where the code after an await goes on, once the operation has ended that it has suspended for.</summary>
public enum RmaContinuations
{
    /// <summary>On the thread pool, where it may block and take its time.</summary>
    ThreadPool = 0,

    /// <summary>
    /// On the thread that makes progress, without a hop to another one. Until that code suspends or returns nothing else of this
    /// endpoint moves, so it must be short and must not block.
    /// </summary>
    /// <remarks>
    /// That is the endpoint's own thread, or the caller's of <see cref="IRmaEndpoint.Poll"/>. The code runs after a turn, so it may use
    /// the endpoint, and dispose it; and after what went on before it, so nothing nests. Where it ends a task, what awaits that task goes
    /// on there, too. Code that blocks until something
    /// else has gone on that this thread goes on with waits for ever. An await with a synchronization context goes on there. What closing ends, and an
    /// operation that had to wait for a free slot, goes on on the thread pool; so do readers of notifications.
    /// </remarks>
    Inline = 1,
}
