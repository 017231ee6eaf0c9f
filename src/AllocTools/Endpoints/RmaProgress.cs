namespace AllocTools.Endpoints;

/// <summary>Who reads the completion queue, by which providers such as tcp and shm move data at all.</summary>
public enum RmaProgress
{
    /// <summary>A thread of the endpoint: it spins, then waits. Peers' operations progress while this process is busy elsewhere.</summary>
    Endpoint = 0,

    /// <summary>
    /// The caller, by <see cref="IRmaEndpoint.Poll"/>. No thread hop; but nothing moves, and nothing times out, while
    /// nobody polls.
    /// </summary>
    Caller = 1,
}
