using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <content>Peers and the connections to them.</content>
internal sealed unsafe partial class UcxDriver
{
    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) => UcxAddress.FindReasonAgainst(address, _context.ErrorHandling) is { } reason
        ? throw new RmaProviderException($"The peer's address of {address.Length} bytes can't be used with provider '{UcxContext.ProviderName}': {reason}. Both sides need the same provider; pass the peer endpoint's Address as it is.")
        : new UcxPeer(address.ToArray());

    public override ulong InsertPeer(RmaDriverPeer peer)
    {
        UcxConnection connection = Connect(peer);
        lock (_connectionsGate)
        {
            _connections.Add(++_lastNumber, connection);
            return _lastNumber;
        }
    }

    /// <remarks>
    /// UCX destroys a connection that its peer has opened as well only with the worker or when it breaks: for UCX the
    /// peer may continue to send (ucp_ep_disconnected). A peer that is repeatedly inserted and removed would leave a
    /// socket each time. Therefore its connection stays until it breaks, and the peer gets it back when it is inserted
    /// again. Without error handling nothing would detect that the connection is broken, so it is closed.
    /// </remarks>
    public override bool TryRemovePeer(ulong number)
    {
        UcxConnection? connection;
        lock (_connectionsGate)
        {
            if (!_connections.TryGetValue(number, out connection))
                return true;
            if (_context.ErrorHandling == UcxErrorHandling.Peer && !connection.HasFailed)
                return false;
            _connections.Remove(number);
        }
        // The endpoint ensures that no operation with it is running.
        BeginClose(connection, connection.HasFailed, isBusy: false);
        return true;
    }

    public override ulong MapKey(RmaDriverPeer peer, in RemoteMemory memory, out Action? unmap)
    {
        UcxConnection connection = ((UcxPeer)peer).Connection;
        nint key = connection.Unpack(memory.RawKey, _calls);
        unmap = () => connection.Destroy(key, _calls);
        return (ulong)key;
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => UcxErrors.IsLoss(error) ? GoneReason : null;

    protected internal override void OnPeerInserted(RmaDriverPeer peer)
    {
        var own = (UcxPeer)peer;
        UcxConnection connection = Renewed(peer);
        connection.Peer = own;
        own.Connection = connection;
        _senders[own.Sender] = own;
    }

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => _senders.TryRemove(new KeyValuePair<ulong, UcxPeer>(((UcxPeer)peer).Sender, (UcxPeer)peer));

    /// <summary>Returns the sender of a message; null if it is not an inserted peer.</summary>
    public UcxPeer? FindSender(UcxRequest* request) => _senders.GetValueOrDefault(request->Info.sender_tag & UcxTag.SenderMask);

    private const string GoneReason = "its process has ended, its endpoint was closed, or it can't be reached";

    private void Fail(UcxConnection connection, sbyte status)
    {
        connection.HasFailed = true;
        if (connection.Peer is { } peer)
            ReportLost(peer, $"{GoneReason} ({_context.Library.TextOf(status)})", UcxErrors.NumberOf(status));
    }

    private UcxConnection Connect(RmaDriverPeer peer)
    {
        UcxConnection connection = new(_context, _mailbox, _maxOutstanding);
        sbyte status;
        using (new UcxCall(_calls))
            status = connection.Open(_worker, UcxAddress.WorkerOf(peer.Address.Span));
        if (status == UcsStatus.UCS_OK)
        {
            lock (_connectionsGate)
                _allConnections.Add(connection);
            return connection;
        }
        connection.Free();
        throw UcxErrors.Provider(
            _context.Library,
            "ucp_ep_create",
            status,
            $" No transport that both sides have reaches the peer. {_context.DescribeTransports()} Both sides must allow a common transport. Shared memory counts only if ErrorHandling is None or both sides name it (shm); UCX_SYSV_ERROR_HANDLING and UCX_POSIX_ERROR_HANDLING must not be n then.");
    }

    /// <summary>Returns the connection of a peer, or a new one if a lost peer was inserted again before its operations had ended.</summary>
    private UcxConnection Renewed(RmaDriverPeer peer)
    {
        UcxConnection connection;
        lock (_connectionsGate)
            connection = _connections[peer.Number];
        if (!connection.HasFailed)
            return connection;
        UcxConnection next;
        try
        {
            next = Connect(peer);
        }
        catch (RmaProviderException)
        {
            // Operations on the failed connection report the failure.
            return connection;
        }
        connection.Retire();
        lock (_connectionsGate)
        {
            _connections[peer.Number] = next;
            _retired.Add(connection);
            _hasRetired = true;
        }
        Wake();
        return next;
    }

    /// <summary>Closes replaced connections that no operation uses any more. The caller must hold the progress turn.</summary>
    private void CloseRetired()
    {
        UcxConnection[] unused;
        lock (_connectionsGate)
        {
            unused = [.. _retired.Where(c => !_poster.IsOutstanding(c))];
            foreach (UcxConnection connection in unused)
                _retired.Remove(connection);
            _hasRetired = _retired.Count > 0;
        }
        foreach (UcxConnection connection in unused)
            BeginClose(connection, isForced: true, isBusy: false);
    }

    /// <param name="connection">The connection.</param>
    /// <param name="isForced">Whether the connection's running operations end with it.</param>
    /// <param name="isBusy">Whether operations on the connection are running and use its keys.</param>
    private void BeginClose(UcxConnection connection, bool isForced, bool isBusy)
    {
        Interlocked.Increment(ref _closing);
        if (!isBusy)
            connection.EndKeys(_calls, areInUse: false);
        using (new UcxCall(_calls))
            connection.BeginClose(isForced);
        Wake();
    }

    private void EndClose(UcxRequest* request)
    {
        var connection = (UcxConnection)GCHandle.FromIntPtr(request->Owner).Target!;
        // After a forced close, running operations have ended together with the connection, so the keys could not be released earlier.
        connection.EndKeys(_calls, areInUse: false);
        if (request->Native != null)
        {
            using (new UcxCall(_calls))
                _context.Library.Exports.ucp_request_free(request->Native);
        }
        lock (_connectionsGate)
            _allConnections.Remove(connection);
        connection.Free();
        Interlocked.Decrement(ref _closing);
    }
}
