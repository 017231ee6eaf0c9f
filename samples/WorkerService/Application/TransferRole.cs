namespace WorkerService.Application;

/// <summary>What this process does.</summary>
internal enum TransferRole
{
    /// <summary>It sends, and starts a process of itself that receives.</summary>
    Both = 0,

    /// <summary>It receives one file.</summary>
    Receiver = 1,

    /// <summary>It sends one file to a receiver that runs already.</summary>
    Sender = 2,

    /// <summary>It moves no file but keeps the pool busy until it is stopped.</summary>
    Load = 3,

    /// <summary>It moves no file but does to the pools what its standard input says.</summary>
    Drill = 4,
}
