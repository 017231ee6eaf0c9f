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

    /// <summary>Sends and awaits the answer by tasks, with the endpoint's own thread.</summary>
    PingPongAsync = 4,
}
