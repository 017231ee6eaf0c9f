namespace AllocTools.Endpoints.Engine;

/// <summary>Where an operation is, seen from the fabric. Each change is one compare-and-swap, so each has one winner.</summary>
internal enum OperationState
{
    /// <summary>The slot is in nobody's use.</summary>
    Free = 0,

    /// <summary>It is being posted, or was: its completion will come.</summary>
    Posted = 1,

    /// <summary>The transport was asked to give it up; its completion may still come.</summary>
    Cancelling = 2,

    /// <summary>The transport took nothing; it waits in the retry queue.</summary>
    Queued = 3,

    /// <summary>The transport took nothing, and the turn had begun to cancel it meanwhile: the next turn ends it.</summary>
    Unposted = 4,

    /// <summary>Its owner is being told that it is over, and its completion has not come.</summary>
    Ending = 5,

    /// <summary>As <see cref="Ending"/>, and its completion came meanwhile: who tells the owner frees the slot, too.</summary>
    Late = 6,

    /// <summary>Its owner was told that it is over; its completion has not come.</summary>
    Abandoned = 7,

    /// <summary>The fabric is done with it. Whoever brought it here tells the owner and frees the slot.</summary>
    Ended = 8,

    /// <summary>The transport took nothing, and its owner was told already that it is over: the next turn frees the slot.</summary>
    Refused = 9,
}
