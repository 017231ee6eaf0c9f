using AllocTools.Interop;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>What failures of libfabric say.</summary>
internal static class LibfabricErrors
{
    public static RmaProviderException Provider(LibfabricLibrary library, string provider, string operation, int status, string detail = "")
    {
        int error = Math.Abs(status);
        return new RmaProviderException(
            $"{operation} failed with {FiErrno.NameOf(error)} ({library.StrError(error)}) on provider '{provider}'.{detail} {SystemShortage.Explain(error)}".TrimEnd(),
            error,
            FiErrno.NameOf(error));
    }

    public static RmaRegistrationException Registration(LibfabricLibrary library, string provider, string operation, long length, int status)
    {
        int error = Math.Abs(status);
        string advice = error == FiErrno.FI_EFAULT ? "The memory is not mapped, or is read-only; before Linux 6.2 a device pins no file that is mapped shared and read-only."
            : error == FiErrno.FI_ENOSPC ? "The device has no room for more registrations."
            : SystemShortage.Explain(error);
        return new RmaRegistrationException(
            $"{operation} of {length} bytes failed with {FiErrno.NameOf(error)} ({library.StrError(error)}) on provider '{provider}'. {advice}".TrimEnd(),
            operation,
            length,
            provider,
            error,
            FiErrno.NameOf(error));
    }

    /// <summary>A registration failed halfway, and could not be undone.</summary>
    public static RmaRegistrationException StillRegistered(LibfabricLibrary library, string provider, long length, Exception failure, int status)
    {
        var known = failure as RmaRegistrationException;
        int error = Math.Abs(status);
        return new RmaRegistrationException(
            $"{failure.Message} Undoing it failed, too: fi_close (registration) with {FiErrno.NameOf(error)} ({library.StrError(error)}). The memory stays mapped, and counts against the cap, permanently.",
            known?.Operation ?? "fi_mr_regattr",
            length,
            provider,
            known?.ErrorCode ?? error,
            known?.ErrorName ?? FiErrno.NameOf(error),
            failure)
        {
            IsStillRegistered = true,
        };
    }

    /// <summary>The transport did not take an operation.</summary>
    public static RmaOperationException Operation(LibfabricLibrary library, string provider, RmaOperationKind kind, long length, int status) =>
        Operation(library, provider, kind, length, status, "");

    /// <summary>An operation that the transport had taken failed.</summary>
    /// <param name="library">The library.</param>
    /// <param name="provider">The provider's name.</param>
    /// <param name="kind">The operation.</param>
    /// <param name="length">Its length in bytes.</param>
    /// <param name="status">The entry's code.</param>
    /// <param name="providerText">What the provider says of its own code; empty where it has none.</param>
    public static RmaOperationException Completion(LibfabricLibrary library, string provider, RmaOperationKind kind, long length, int status, string providerText)
    {
        string detail = providerText.Length == 0 ? "" : $" The provider says: {providerText}.";
        // Transports have many codes for a key that is refused; tcp;ofi_rxm takes the connection down.
        string cause = kind is RmaOperationKind.Write or RmaOperationKind.Read
            ? " Likely causes: the peer's exposure has ended, does not cover these bytes, or does not grant this; or the peer is gone."
            : "";
        return Operation(library, provider, kind, length, status, cause + detail);
    }

    private static RmaOperationException Operation(LibfabricLibrary library, string provider, RmaOperationKind kind, long length, int status, string detail)
    {
        int error = Math.Abs(status);
        return new RmaOperationException(
            $"{kind} of {length} bytes failed with {FiErrno.NameOf(error)} ({library.StrError(error)}) on provider '{provider}'.{detail} {SystemShortage.Explain(error)}{SystemShortage.ExplainPort(error)}".TrimEnd(),
            kind,
            error,
            FiErrno.NameOf(error));
    }

    /// <summary>A message was longer than its receive.</summary>
    /// <param name="provider">The provider's name.</param>
    /// <param name="room">The receive's length in bytes.</param>
    /// <param name="messageLength">The message's length in bytes; null where the transport does not report it.</param>
    public static RmaMessageTruncatedException Truncated(string provider, long room, long? messageLength) => new(
        $"Receive of {room} bytes failed with FI_ETRUNC: a peer has sent a longer message{(messageLength is null ? "" : $", {messageLength} bytes")}, on provider '{provider}'. "
        + "The message is lost; post the next receive. Post buffers as long as the longest message that peers send, and set Endpoint:MaxMessageLength to that on all sides.",
        room,
        messageLength,
        FiErrno.FI_ETRUNC,
        nameof(FiErrno.FI_ETRUNC));

    public static RmaTimeoutException Timeout(string provider, RmaOperationKind kind, long length, TimeSpan elapsed, bool wasPosted, ulong? blocker = null) => new(
        $"{kind} of {length} bytes did not complete within {elapsed.TotalSeconds:0.###} s on provider '{provider}': "
        + (kind == RmaOperationKind.Receive ? "no message has come for it. "
            : blocker is not null ? $"it was held up behind an operation to peer {blocker}, which does not answer; its process is stopped or hangs. "
            : "the peer is gone, hangs, or makes no progress. ")
        + (wasPosted ? "The buffer is quarantined until the completion arrives or the endpoint is closed."
            : "The transport has given the operation up, and its buffer is free."),
        kind,
        FiErrno.FI_ETIMEDOUT,
        nameof(FiErrno.FI_ETIMEDOUT));

    public static RmaPeerLostException PeerLost(string provider, RmaOperationKind kind, long length, RmaPeer peer, PeerLoss loss) => new(
        $"{kind} of {length} bytes failed: {peer} is lost on provider '{provider}': {loss.Reason}. Operations to it fail at once until it is inserted again; import its memory again, too.",
        kind,
        peer,
        loss.Error,
        FiErrno.NameOf(loss.Error));

    /// <summary>An operation that will never be known to have completed, because another peer was lost before.</summary>
    public static RmaOperationException HeldUp(string provider, RmaOperationKind kind, long length, ulong? blocker) => new(
        $"{kind} of {length} bytes was ended on provider '{provider}': its completion was held up behind an operation to peer {blocker}, which is lost. It may have been done. "
        + "Its own peer is not lost, and later operations to it go on; the buffer is quarantined until the endpoint is closed.",
        kind,
        FiErrno.FI_ECONNABORTED,
        nameof(FiErrno.FI_ECONNABORTED))
    {
        IsTransient = true,
    };

    /// <summary>A transport says so of a peer whose connection is broken, or with whom there can be none.</summary>
    public static bool IsLoss(int status)
    {
        int error = Math.Abs(status);
        return error == FiErrno.FI_ECONNRESET || error == FiErrno.FI_ECONNABORTED || error == FiErrno.FI_ECONNREFUSED || error == FiErrno.FI_ENOTCONN
            || error == FiErrno.FI_ESHUTDOWN || error == FiErrno.FI_EHOSTDOWN || error == FiErrno.FI_ETIMEDOUT;
    }

    /// <summary>A message was not sent, because the peer does not receive.</summary>
    public static RmaTimeoutException NotReceiving(string provider, long length, TimeSpan elapsed, int window) => new(
        $"Send of {length} bytes was not started within {elapsed.TotalSeconds:0.###} s on provider '{provider}': the peer has had no receive posted since the last {window} messages, which is as many as "
        + "Endpoint:MaxUnreceivedMessages lets pile up in its memory. Its application must receive sooner, or post more receives.",
        RmaOperationKind.Send,
        FiErrno.FI_ETIMEDOUT,
        nameof(FiErrno.FI_ETIMEDOUT));

    public static RmaTimeoutException NoSlot(string provider, RmaOperationKind kind, long length, TimeSpan elapsed, int maxOutstanding, int abandoned) => new(
        $"{kind} of {length} bytes was not started within {elapsed.TotalSeconds:0.###} s on provider '{provider}': all {maxOutstanding} operations that "
        + $"Endpoint:MaxOutstanding allows are outstanding, {abandoned} of them timed out before. Raise it, await operations sooner, or open the endpoint anew.",
        kind,
        FiErrno.FI_ETIMEDOUT,
        nameof(FiErrno.FI_ETIMEDOUT));

    /// <summary>The endpoint's completions can't be read any more.</summary>
    public static RmaOperationException NoProgress(string provider, RmaOperationKind kind, long length, RmaException failure) => new(
        $"{kind} of {length} bytes was ended or refused: its endpoint makes no progress any more on provider '{provider}'. {failure.Message} Close the endpoint and open another.",
        kind,
        failure.ErrorCode == 0 ? FiErrno.FI_EIO : failure.ErrorCode,
        failure.ErrorCode == 0 ? nameof(FiErrno.FI_EIO) : failure.ErrorName,
        failure);

    public static RmaOperationException EndpointClosed(string provider, RmaOperationKind kind, long length) => new(
        $"{kind} of {length} bytes was ended by closing the endpoint on provider '{provider}'.",
        kind,
        FiErrno.FI_ECANCELED,
        nameof(FiErrno.FI_ECANCELED));
}
