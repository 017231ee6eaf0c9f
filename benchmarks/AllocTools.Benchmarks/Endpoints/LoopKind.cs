namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The operations that an initiator repeats.</summary>
internal enum LoopKind
{
    /// <summary>Writes, with a window of them outstanding.</summary>
    Write = 0,

    /// <summary>Reads, with a window of them outstanding.</summary>
    Read = 1,

    /// <summary>Sends, and awaits the answer.</summary>
    PingPong = 2,

    /// <summary>Writes with tasks, with the endpoint's own thread.</summary>
    WriteAsync = 3,

    /// <summary>Sends and awaits the answer with tasks; the target answers with tasks, too.</summary>
    PingPongAsync = 4,

    /// <summary>Awaits one write after the other.</summary>
    AwaitedWrite = 5,

    /// <summary>Runs as many tasks as the window is wide, each of which awaits one write after the other.</summary>
    WriteByTasks = 6,

    /// <summary>Repeatedly runs a batch of as many writes as the window is wide.</summary>
    Batch = 7,

    /// <summary>Like <see cref="PingPongAsync"/>, but with writes that have a notification.</summary>
    NotifiedPingPong = 8,

    /// <summary>Writes a stream whose reader confirms each message, with a window of unconfirmed messages. Both processes await.</summary>
    Stream = 9,

    /// <summary>Like <see cref="Stream"/>, but from memory of the connection's own pool.</summary>
    PoolStream = 10,
}
