namespace AllocTools.Endpoints.Engine;

/// <summary>Which failures of the transport pass by themselves, and after which an operation can be repeated without danger.</summary>
/// <remarks>
/// The transport has ended each operation that is considered here, so it no longer uses the local memory. What can be
/// left of one is what was sent: bytes of a write in a socket's buffer, or in the network, of a connection that broke.
/// They may still reach the peer's memory after the repeated write has completed, and so overwrite newer bytes. So an
/// accepted write is repeated only if the peer or this side answered that there is no room for it now; a write that was
/// not accepted, and a read, can be repeated after a broken connection as well. The codes are Linux's, which all
/// providers use.
/// </remarks>
internal static class PassingErrors
{
    /// <summary>EAGAIN, ENOMEM, EBUSY, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS.</summary>
    private static readonly HashSet<int> NoRoom = [11, 12, 16, 23, 24, 99, 105];

    /// <summary>
    /// EINTR, EPIPE, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED, ECONNRESET, ENOTCONN, ESHUTDOWN, ETIMEDOUT,
    /// ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH.
    /// </summary>
    private static readonly HashSet<int> Broken = [4, 32, 100, 101, 102, 103, 104, 107, 108, 110, 111, 112, 113];

    public static bool IsPassing(int error) => NoRoom.Contains(error) || Broken.Contains(error);

    /// <param name="kind">The operation.</param>
    /// <param name="error">The transport's code.</param>
    /// <param name="wasAccepted">Whether the transport had accepted the operation, or its present part.</param>
    public static bool IsRepeatable(RmaOperationKind kind, int error, bool wasAccepted) => kind switch
    {
        RmaOperationKind.Read => IsPassing(error),
        RmaOperationKind.Write => NoRoom.Contains(error) || (!wasAccepted && Broken.Contains(error)),
        _ => false,
    };
}
