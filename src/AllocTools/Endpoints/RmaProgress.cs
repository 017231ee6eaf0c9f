namespace AllocTools.Endpoints;

/// <summary>Which thread reads the completion queue. Providers such as tcp and shm move data only when the queue is read.</summary>
public enum RmaProgress
{
    /// <summary>
    /// A thread of the endpoint makes progress: it spins, then waits. Operations of peers progress even while this
    /// process is busy elsewhere.
    /// </summary>
    Endpoint = 0,

    /// <summary>
    /// The caller makes progress, by <see cref="IRmaEndpoint.Poll"/>. There is no thread switch, but nothing moves and
    /// nothing times out unless a thread polls.
    /// </summary>
    Caller = 1,
}
