namespace AllocTools.Benchmarks.Endpoints;

/// <summary>What an initiator does again and again.</summary>
internal enum LoopKind
{
    /// <summary>Writes, with a window of them outstanding.</summary>
    Write = 0,

    /// <summary>Reads, with a window of them outstanding.</summary>
    Read = 1,

    /// <summary>Sends, and awaits the answer.</summary>
    PingPong = 2,

    /// <summary>Writes by tasks, with the endpoint's own thread.</summary>
    WriteAsync = 3,

    /// <summary>Sends and awaits the answer by tasks; the target answers by tasks, too.</summary>
    PingPongAsync = 4,

    /// <summary>Awaits one write after the other.</summary>
    AwaitedWrite = 5,

    /// <summary>As many tasks as the window is wide, each of which awaits one write after the other.</summary>
    WriteByTasks = 6,

    /// <summary>Runs a batch of as many writes as the window is wide, again and again.</summary>
    Batch = 7,

    /// <summary>As <see cref="PingPongAsync"/>, by writes that bring a notification.</summary>
    NotifiedPingPong = 8,

    /// <summary>Writes a stream whose reader confirms each message, with a window of them not confirmed. Both processes await.</summary>
    Stream = 9,

    /// <summary>As <see cref="Stream"/>, from memory of the connection's own pool.</summary>
    PoolStream = 10,
}
