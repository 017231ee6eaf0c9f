namespace AllocTools.Endpoints;

/// <summary>Where the code after an await continues, if the await had to suspend.</summary>
public enum RmaContinuations
{
    /// <summary>The code continues on the thread pool, where it may block or run for long.</summary>
    ThreadPool = 0,

    /// <summary>
    /// The code continues on the thread that makes progress, without a switch to another thread. Until it suspends or
    /// returns, the endpoint makes no progress, so it must be short and must not block.
    /// </summary>
    /// <remarks>
    /// That thread is the endpoint's own thread, or the caller of <see cref="IRmaEndpoint.Poll"/>. The code runs after a
    /// progress turn, so it may use the endpoint and dispose it. It also runs after earlier continuations, so continuations
    /// don't nest. If it completes a task, code that awaits that task continues on this thread, too. Code that blocks until
    /// another continuation of the same thread has run waits forever. An await with a synchronization context continues in
    /// that context. Some awaits continue on the thread pool: those that end because the endpoint is closed, those of
    /// operations that had to wait for a free slot, and those of readers of notifications.
    /// </remarks>
    Inline = 1,
}
