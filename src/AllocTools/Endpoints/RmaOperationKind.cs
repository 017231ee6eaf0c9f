namespace AllocTools.Endpoints;

/// <summary>The operations of an endpoint.</summary>
public enum RmaOperationKind
{
    /// <summary>RMA write: local memory to a peer's (fi_write(3)).</summary>
    Write = 0,

    /// <summary>RMA read: a peer's memory to local (fi_read(3)).</summary>
    Read = 1,

    /// <summary>A message to a peer (fi_send(3)).</summary>
    Send = 2,

    /// <summary>A buffer for a message of any peer (fi_recv(3)).</summary>
    Receive = 3,
}
