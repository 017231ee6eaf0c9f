namespace AllocTools.Endpoints.Engine;

/// <summary>Classifies the transport's failures: which are transient, and after which an operation can be repeated safely.</summary>
/// <remarks>
/// The transport has ended each operation that is considered here, so it no longer uses the local memory. What may remain
/// is data that was already sent: bytes of a write on a broken connection, in a socket's buffer or in the network. They
/// may still reach the peer's memory after the repeated write has completed, and so overwrite newer bytes. A write is
/// therefore repeated only if the transport has accepted no part of it; a read can be repeated in any case. The codes
/// are Linux's, which all providers use.
/// </remarks>
internal static class TransientErrors
{
    /// <summary>
    /// EINTR, EAGAIN, ENOMEM, EBUSY, ENFILE, EMFILE, EPIPE, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED,
    /// ECONNRESET, ENOBUFS, ENOTCONN, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH.
    /// </summary>
    private static readonly HashSet<int> Transient = [4, 11, 12, 16, 23, 24, 32, 99, 100, 101, 102, 103, 104, 105, 107, 108, 110, 111, 112, 113];

    public static bool IsTransient(int error) => Transient.Contains(error);

    /// <param name="kind">The operation.</param>
    /// <param name="error">The transport's code.</param>
    /// <param name="wasAccepted">Whether the transport had accepted the operation, or a part of it.</param>
    public static bool IsRetryable(RmaOperationKind kind, int error, bool wasAccepted) => kind switch
    {
        RmaOperationKind.Read => IsTransient(error),
        RmaOperationKind.Write => !wasAccepted && IsTransient(error),
        _ => false,
    };
}
