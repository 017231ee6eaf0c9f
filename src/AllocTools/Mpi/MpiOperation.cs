namespace AllocTools.Mpi;

/// <summary>What the driver knows of an operation, by its index.</summary>
internal struct MpiOperation
{
    public MpiStage Stage;
    public MpiRecall Recall;
    public MpiPeer? Peer;

    /// <summary>A message whose target has said that it is closed: it drops the message, which MPI then calls received.</summary>
    public bool IsLost;
    public nint Address;

    /// <summary>Where a message goes that is longer than its receive.</summary>
    public nint Room;
    public long Length;
    public ulong Number;
    public ulong? Notification;
}

/// <summary>What MPI does for an operation.</summary>
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

/// <summary>Whether a message is to be taken back, and what its peer says of that.</summary>
internal enum MpiRecall
{
    None = 0,
    Asked = 1,

    /// <summary>MPI says that it was received, or dropped; the peer has yet to say which.</summary>
    AskedAndDone = 2,
    Dropped = 3,
    Kept = 4,
}
