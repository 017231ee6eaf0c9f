namespace AllocTools.Mpi;

/// <summary>The driver's state of an operation, by its index.</summary>
internal struct MpiOperation
{
    public MpiStage Stage;
    public MpiRecall Recall;
    public MpiPeer? Peer;

    /// <summary>Whether the target of a message has reported that it is closed: it drops the message, which MPI then reports as received.</summary>
    public bool IsLost;
    public nint Address;

    /// <summary>The memory for a message that is longer than its receive.</summary>
    public nint Room;
    public long Length;
    public ulong Number;
    public ulong? Notification;
}

/// <summary>The MPI call of an operation.</summary>
internal enum MpiStage
{
    None = 0,
    Receive = 1,
    Receiving = 2,
    Send = 3,
    Write = 4,
    Notification = 5,
    Read = 6,
}

/// <summary>Whether a message is being recalled, and the peer's answer.</summary>
internal enum MpiRecall
{
    None = 0,
    Asked = 1,

    /// <summary>MPI reports that the message was received or dropped; the peer has not yet answered which.</summary>
    AskedAndDone = 2,
    Dropped = 3,
    Kept = 4,
}
