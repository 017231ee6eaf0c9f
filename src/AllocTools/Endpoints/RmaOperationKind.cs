namespace AllocTools.Endpoints;

/// <summary>The operations of an endpoint.</summary>
public enum RmaOperationKind
{
    /// <summary>An RMA write from local memory to a peer's memory (fi_write(3)).</summary>
    Write = 0,

    /// <summary>An RMA read from a peer's memory to local memory (fi_read(3)).</summary>
    Read = 1,

    /// <summary>A message to a peer (fi_send(3)).</summary>
    Send = 2,

    /// <summary>Receiving a message of any peer into a buffer (fi_recv(3)).</summary>
    Receive = 3,
}
