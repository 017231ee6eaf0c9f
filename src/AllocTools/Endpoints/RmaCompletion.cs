namespace AllocTools.Endpoints;

/// <summary>The completion of an operation that was posted without a task.</summary>
/// <param name="Context">The caller's own number, from <see cref="RmaOperation.Context"/>.</param>
/// <param name="Kind">The operation.</param>
/// <param name="Length">The number of bytes that the operation moved. For a receive that failed with FI_ETRUNC, the length of the message that was too long, or 0 if the transport does not report it.</param>
/// <param name="ErrorCode">0, or the positive fi_errno value; FI_ETIMEDOUT if the operation timed out.</param>
public readonly record struct RmaCompletion(ulong Context, RmaOperationKind Kind, long Length, int ErrorCode)
{
    /// <summary>
    /// The <see cref="RmaPeer.Handle"/> of the sender of a received message; null if the transport can't identify it,
    /// if the peer isn't inserted, and for other operations.
    /// </summary>
    public ulong? Sender { get; init; }

    /// <summary>Whether the operation succeeded.</summary>
    public bool IsSuccess => ErrorCode == 0;
}
