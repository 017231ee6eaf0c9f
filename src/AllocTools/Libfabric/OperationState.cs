namespace AllocTools.Libfabric;

/// <summary>Where an operation is, seen from the fabric.</summary>
internal enum OperationState
{
    /// <summary>The slot is in nobody's use.</summary>
    Free = 0,

    /// <summary>It is being posted, or was: its completion will come.</summary>
    Posted = 1,

    /// <summary>The transport took nothing; it waits in the retry queue.</summary>
    Queued = 2,

    /// <summary>It was posted and its owner was told that it is over; its completion has not come.</summary>
    Abandoned = 3,

    /// <summary>
    /// It was told to be over while its poster was still in the call, and then the transport took nothing: the next turn
    /// frees it.
    /// </summary>
    Unposted = 4,
}
