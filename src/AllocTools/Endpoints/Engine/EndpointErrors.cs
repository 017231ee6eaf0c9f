using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Endpoints.Engine;

/// <summary>Creates the errors of an endpoint's operations, for all transports.</summary>
internal sealed class EndpointErrors(RmaEndpoint endpoint, RmaEndpointDriver driver, string provider, bool runsInline)
{
    /// <summary>EIO. These codes are the same for all transports.</summary>
    public const int IoError = 5;

    /// <summary>ECANCELED.</summary>
    public const int Canceled = 125;

    private const int ConnectionAborted = 103;
    private const int TimedOut = 110;

    /// <summary>FI_ETRUNC, which the system does not define.</summary>
    private const int TruncatedMessage = 265;

    private const string TruncatedName = "FI_ETRUNC";

    /// <summary>Creates the error of an operation that the transport reports as failed, or that of the loss of its peer.</summary>
    /// <param name="slot">The operation.</param>
    /// <param name="error">The transport's code.</param>
    /// <param name="detail">Further details from the transport; null if it accepted nothing of the operation.</param>
    public RmaOperationException Failed(OperationSlot slot, int error, string? detail)
    {
        if (slot.Peer is { IsRemoved: false } peer && driver.FindLoss(slot, error) is { } reason)
            endpoint.Lose(peer, new PeerLoss(reason, error));
        if (FindLoss(slot) is { } lost)
            return lost;
        // Transports use many codes for a refused key.
        string cause = detail is not null && slot.Kind is RmaOperationKind.Write or RmaOperationKind.Read
            ? " Likely causes: the peer's exposure has ended, does not cover these bytes, or does not grant this; or the peer is gone."
            : "";
        string text = driver.TextOf(error);
        return new RmaOperationException(
            $"{slot.Kind} of {InWords.Size(slot.WholeLength)} failed with {driver.NameOf(error)}{(text.Length == 0 ? "" : $" ({text})")} on provider '{provider}'.{cause}{(string.IsNullOrEmpty(detail) ? "" : $" The provider says: {detail}.")} {SystemShortage.Explain(error)}{SystemShortage.ExplainPort(error)}".TrimEnd(),
            slot.Kind,
            error,
            driver.NameOf(error))
        {
            IsTransient = TransientErrors.IsTransient(error),
            IsRetryable = TransientErrors.IsRetryable(slot.Kind, error, wasAccepted: detail is not null || slot.Transferred > 0),
        };
    }

    /// <summary>Creates the error of a receive that was shorter than its message.</summary>
    /// <param name="room">The receive's length in bytes.</param>
    /// <param name="messageLength">The message's length in bytes; null if the transport does not report it.</param>
    public RmaMessageTruncatedException Truncated(long room, long? messageLength) => new(
        $"Receive of {InWords.Size(room)} failed with {TruncatedName}: a peer has sent a longer message{(messageLength is null ? "" : $", {InWords.Size(messageLength.Value)}")}, on provider '{provider}'. "
        + "The message is lost; post the next receive. Post buffers as long as the longest message that peers send, and set Provider:Endpoint:MaxMessageLength to that on all sides.",
        room,
        messageLength,
        TruncatedMessage,
        TruncatedName);

    public RmaTimeoutException Timeout(OperationSlot slot, TimeSpan elapsed, bool wasPosted) => new(
        $"{slot.Kind} of {InWords.Size(slot.WholeLength)} did not complete within {elapsed.TotalSeconds:0.###} s on provider '{provider}': "
        + (driver.ExplainTimeout(slot, wasPosted)
            ?? (slot.Kind == RmaOperationKind.Receive ? "no message has arrived for it. " : "the peer is gone, hangs, or makes no progress. "))
        + (runsInline ? "With Continuations = Inline, this also happens when code after an await blocks the endpoint's thread. " : "")
        + (wasPosted ? "The buffer is quarantined until the completion arrives or the endpoint is closed."
            : "The transport has abandoned the operation, and its buffer is free."),
        slot.Kind,
        TimedOut,
        driver.NameOf(TimedOut));

    public RmaTimeoutException NoSlot(RmaOperationKind kind, long length, TimeSpan elapsed, int maxOutstanding, int abandoned) => new(
        $"{kind} of {InWords.Size(length)} was not started within {elapsed.TotalSeconds:0.###} s on provider '{provider}': all {maxOutstanding} operations that "
        + $"Provider:Endpoint:MaxOutstanding allows are outstanding, of which {abandoned} have timed out. Raise MaxOutstanding, await operations sooner, or reopen the endpoint.",
        kind,
        TimedOut,
        driver.NameOf(TimedOut));

    /// <summary>Creates the error after which the endpoint's completions can no longer be read.</summary>
    public RmaOperationException NoProgress(RmaOperationKind kind, long length, RmaException failure) => new(
        $"{kind} of {InWords.Size(length)} was ended or refused: its endpoint on provider '{provider}' can no longer make progress. {failure.Message} Close the endpoint and open another.",
        kind,
        failure.ErrorCode == 0 ? IoError : failure.ErrorCode,
        failure.ErrorCode == 0 ? driver.NameOf(IoError) : failure.ErrorName,
        failure);

    /// <summary>
    /// Creates the error of a call on a closed endpoint. An operation that was accepted before ends with
    /// <see cref="EndpointClosed"/>.
    /// </summary>
    public ObjectDisposedException Disposed() => new(
        nameof(IRmaEndpoint), $"The endpoint of provider '{provider}' is disposed. Stop the code that uses it first, or open another one (IRmaContext.OpenEndpoint), insert its peers there, and import their memory there.");

    /// <inheritdoc cref="NoProgress"/>
    public RmaException NoNotifications(RmaException failure) => new(
        $"No more notifications will arrive: the endpoint on provider '{provider}' can no longer make progress. {failure.Message} Close the endpoint and open another.",
        failure.ErrorCode,
        failure.ErrorName,
        failure);

    public RmaOperationException EndpointClosed(RmaOperationKind kind, long length) => new(
        $"{kind} of {InWords.Size(length)} was ended by closing the endpoint on provider '{provider}'.",
        kind,
        Canceled,
        driver.NameOf(Canceled));

    /// <summary>Creates the error of an operation whose completion will never be known, because another peer was lost.</summary>
    public RmaOperationException HeldUp(OperationSlot slot, string by) => new(
        $"{slot.Kind} of {InWords.Size(slot.WholeLength)} was ended on provider '{provider}': its completion was held up behind an operation to {by}, which is lost. It may have been done. "
        + "Its own peer is not lost, and later operations to it go on; the buffer is quarantined until the endpoint is closed.",
        slot.Kind,
        ConnectionAborted,
        driver.NameOf(ConnectionAborted))
    {
        IsTransient = true,
    };

    /// <summary>Returns the error of an operation whose peer is lost; null if the peer is not lost, or was removed.</summary>
    public RmaPeerLostException? FindLoss(OperationSlot slot) =>
        slot.Peer is { IsRemoved: false, Loss: { } loss } peer ? PeerLost(slot.Kind, slot.WholeLength, PeerOf(peer)!.Value, loss) : null;

    /// <summary>Returns why an operation can't be sent to its peer: the peer was removed, or is lost. Null if it can be sent.</summary>
    public Exception? FindReasonAgainst(in RmaOperation operation)
    {
        if (operation.Kind == RmaOperationKind.Receive)
            return null;
        RmaPeer peer = operation.Destination;
        return peer.Entry is not { IsRemoved: false } entry ? Removed(peer.Handle, provider, EndpointChecks.RemoteNameOf(operation.Kind))
            : entry.Loss is { } loss ? PeerLost(operation.Kind, operation.Local.Length, peer, loss)
            : null;
    }

    /// <inheritdoc cref="FindReasonAgainst(in RmaOperation)"/>
    public Exception? FindReasonAgainst(in BatchEntry entry) =>
        entry.Peer.IsRemoved ? Removed(entry.Peer.Number, provider, EndpointChecks.RemoteNameOf(entry.Kind))
        : entry.Peer.Loss is { } loss ? PeerLost(entry.Kind, entry.Length, PeerOf(entry.Peer)!.Value, loss)
        : null;

    public static ArgumentException Removed(ulong peer, string provider, string parameter) => new(
        $"This RmaPeer, peer {peer} of provider '{provider}', is not known to the endpoint: it was removed, or the peer has been inserted again since. Use the RmaPeer that InsertPeer returned last, and import the peer's memory with it.",
        parameter);

    /// <summary>Returns a peer in the form that users see.</summary>
    public RmaPeer? PeerOf(RmaDriverPeer? peer) => peer is null ? null : new RmaPeer(endpoint, peer);

    private RmaPeerLostException PeerLost(RmaOperationKind kind, long length, RmaPeer peer, PeerLoss loss) => new(
        $"{kind} of {InWords.Size(length)} failed: peer {peer.Handle} is lost on provider '{provider}': {loss.Reason}. Operations to it fail at once until it is inserted again; import its memory again, too.",
        kind,
        peer,
        loss.Error,
        driver.NameOf(loss.Error));
}
