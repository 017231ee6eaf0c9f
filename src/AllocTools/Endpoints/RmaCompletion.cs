namespace AllocTools.Endpoints;

/// <summary>The end of an operation that was posted without a task.</summary>
/// <param name="Context">The caller's own number, from <see cref="RmaOperation.Context"/>.</param>
/// <param name="Kind">The operation.</param>
/// <param name="Length">The bytes it moved. Of a receive that failed with FI_ETRUNC: the length of the message that was too long for it, or 0 where the transport does not report it.</param>
/// <param name="ErrorCode">0, or the positive fi_errno value; FI_ETIMEDOUT where the time-out ended it.</param>
public readonly record struct RmaCompletion(ulong Context, RmaOperationKind Kind, long Length, int ErrorCode)
{
    /// <summary>
    /// The <see cref="RmaPeer.Handle"/> of who sent the message that was received; null where the transport can't tell, for
    /// a peer that isn't inserted, and for other operations.
    /// </summary>
    public ulong? Sender { get; init; }

    /// <summary>The operation succeeded.</summary>
    public bool IsSuccess => ErrorCode == 0;
}
