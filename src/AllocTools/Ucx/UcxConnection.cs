using System.Runtime.InteropServices;
using AllocTools.Endpoints.Drivers;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>A peer in UCX.</summary>
internal sealed class UcxPeer(byte[] address) : RmaDriverPeer(address)
{
    private UcxConnection? _connection;

    /// <summary>The number in the tags of the peer's messages.</summary>
    public ulong Sender { get; } = UcxAddress.NumberOf(address);

    /// <summary>The peer's connection. It is set before any operation with the peer is started.</summary>
    public UcxConnection Connection
    {
        get => Volatile.Read(ref _connection)!;
        set => Volatile.Write(ref _connection, value);
    }
}

/// <summary>The UCX side of a peer (ucp_ep_h): its unpacked keys, and the writes that no flush covers yet.</summary>
/// <remarks>
/// A put ends when its source may be reused. The bytes have reached the target only when a later flush has ended, so
/// each write waits for a flush. A single write is flushed immediately; writes that are followed by others, or posted
/// during a flush, are flushed together by the next progress turn.
/// </remarks>
internal sealed unsafe class UcxConnection
{
    private readonly UcxContext _context;
    // Protects the writes; it is never held while UCX is called.
    private readonly Lock _gate = new();
    // Protects the keys; it is held while UCX is called, because the worker must not be destroyed meanwhile.
    private readonly Lock _keysGate = new();
    private readonly HashSet<nint> _keys = [];
    private readonly UcxRequests _failure;
    private readonly UcxRequests _close;
    private void* _closeRequest;
    private readonly GCHandle _handle;
    private List<int> _unflushed;
    private int _flushes;
    private bool _isDue;
    private bool _areKeysGone;
    private bool _isClosing;
    private bool _isFreed;
    private volatile bool _hasFailed;
    private volatile bool _isRetired;
    private void* _endpoint;

    public UcxConnection(UcxContext context, UcxMailbox* mailbox, int maxOutstanding)
    {
        _context = context;
        // Lists are passed between connections and flushes, and are reused.
        _unflushed = new List<int>(maxOutstanding);
        _handle = GCHandle.Alloc(this);
        _failure = new UcxRequests(1, 0, UcxRequestKind.Failure, mailbox, GCHandle.ToIntPtr(_handle));
        _close = new UcxRequests(1, 0, UcxRequestKind.Close, mailbox, GCHandle.ToIntPtr(_handle));
    }

    /// <summary>ucp_ep_h.</summary>
    public void* Endpoint => _endpoint;

    /// <summary>The peer, for reports; null before it is inserted.</summary>
    public UcxPeer? Peer { get; set; }

    /// <summary>Whether UCX has reported that the peer is gone.</summary>
    public bool HasFailed
    {
        get => _hasFailed;
        set => _hasFailed = value;
    }

    /// <summary>Whether another connection has replaced this one, so that no more operations are started with it.</summary>
    public bool IsRetired => _isRetired;

    /// <summary>Prevents new operations on the connection. Operations that were announced before may continue.</summary>
    public void Retire()
    {
        lock (_keysGate)
            _areKeysGone = true;
        _isRetired = true;
        // The matching fence is in UcxPoster.Post, which has none of its own.
        Interlocked.MemoryBarrierProcessWide();
    }

    /// <summary>Opens the connection.</summary>
    /// <param name="worker">The worker (ucp_worker_h).</param>
    /// <param name="address">The address of the peer's worker.</param>
    public sbyte Open(void* worker, ReadOnlySpan<byte> address)
    {
        // If an address claims to be longer than it is, UCX reads less than this beyond its end.
        const int Room = 8192;
        byte* copy = (byte*)NativeMemory.AllocZeroed((nuint)(address.Length + Room));
        address.CopyTo(new Span<byte>(copy, address.Length));
        ucp_ep_params parameters = new()
        {
            field_mask = UcpField.UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UcpField.UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UcpField.UCP_EP_PARAM_FIELD_ERR_HANDLER,
            address = copy,
            err_mode = _context.ErrorHandling == UcxErrorHandling.Peer ? UcpMode.UCP_ERR_HANDLING_MODE_PEER : UcpMode.UCP_ERR_HANDLING_MODE_NONE,
            err_handler = new ucp_err_handler { cb = UcxRequest.Failed, arg = _failure[0] },
        };
        void* endpoint;
        sbyte status = _context.Library.Exports.ucp_ep_create(worker, &parameters, &endpoint);
        NativeMemory.Free(copy);
        if (status == UcsStatus.UCS_OK)
            _endpoint = endpoint;
        return status;
    }

    /// <summary>Unpacks a key for the connection.</summary>
    /// <exception cref="RmaProviderException">UCX refused, or the connection is closed.</exception>
    public nint Unpack(ReadOnlySpan<byte> packed, Lock? calls)
    {
        // This is more than UCX reads of any key: one byte of length for each of 64 devices.
        const int Room = 64 * 256;
        byte* copy = (byte*)NativeMemory.AllocZeroed((nuint)(packed.Length + Room));
        packed.CopyTo(new Span<byte>(copy, packed.Length));
        void* key = null;
        sbyte status = UcsStatus.UCS_ERR_CANCELED;
        lock (_keysGate)
        {
            if (!_areKeysGone)
            {
                using (new UcxCall(calls))
                    status = _context.Library.Exports.ucp_ep_rkey_unpack(_endpoint, copy, &key);
                if (status == UcsStatus.UCS_OK)
                    _keys.Add((nint)key);
            }
        }
        NativeMemory.Free(copy);
        return status == UcsStatus.UCS_OK ? (nint)key : throw UcxErrors.Provider(_context.Library, $"ucp_ep_rkey_unpack of a key of {packed.Length} bytes", status);
    }

    /// <summary>Releases a key, unless all keys were released. Any thread may call this at any time.</summary>
    public void Destroy(nint key, Lock? calls)
    {
        lock (_keysGate)
        {
            if (!_keys.Remove(key))
                return;
            using (new UcxCall(calls))
                _context.Library.Exports.ucp_rkey_destroy((void*)key);
        }
    }

    /// <summary>
    /// Releases all keys permanently: after the operations that use them, and before the connection, as
    /// ucp_rkey_destroy requires.
    /// </summary>
    /// <param name="calls">The lock that is held for each call.</param>
    /// <param name="areInUse">Whether operations use the keys, so that they must stay.</param>
    public void EndKeys(Lock? calls, bool areInUse)
    {
        lock (_keysGate)
        {
            _areKeysGone = true;
            if (!areInUse)
            {
                using (new UcxCall(calls))
                {
                    foreach (nint key in _keys)
                        _context.Library.Exports.ucp_rkey_destroy((void*)key);
                }
            }
            _keys.Clear();
        }
    }

    /// <summary>Notes a write whose put was posted.</summary>
    /// <param name="index">The write. Once another write's flush covers it, its index may belong to another operation.</param>
    /// <param name="hasMore">Whether others follow immediately.</param>
    /// <param name="due">Receives this connection if a progress turn must flush it.</param>
    /// <param name="flushes">The source of flushes.</param>
    /// <returns>A flush to start now, which covers the write and others; null if there is none.</returns>
    public UcxFlush? AddWrite(int index, bool hasMore, UcxDueConnections due, UcxFlushes flushes)
    {
        lock (_gate)
        {
            _unflushed.Add(index);
            if (!hasMore && _flushes == 0)
                return Take_NeedsLock(flushes);
            // This must be within the lock, because a turn looks for the write at the end of the flush that is in progress.
            if (!_isDue)
                due.Add(this);
            _isDue = true;
            return null;
        }
    }

    /// <summary>Takes the writes that a progress turn must flush.</summary>
    /// <returns>A flush to start; null if there is nothing to flush, or if UCX frees its side of the connection.</returns>
    public UcxFlush? TakeDue(UcxFlushes flushes)
    {
        lock (_gate)
        {
            _isDue = false;
            return _isClosing || _unflushed.Count == 0 ? null : Take_NeedsLock(flushes);
        }
    }

    /// <summary>Notes that a flush has ended.</summary>
    public void EndFlush()
    {
        lock (_gate)
            _flushes--;
    }

    /// <summary>Starts to close the connection. The mailbox receives the end of the close.</summary>
    /// <param name="isForced">Whether to close the connection without notifying the peer.</param>
    /// <remarks>
    /// UCX allocates the request: ucp_worker_destroy of UCX 1.13 aborts the process if a request allocated by this
    /// library has not ended, and such a request can't be released before.
    /// </remarks>
    public void BeginClose(bool isForced)
    {
        // A forced close may free it immediately.
        lock (_gate)
            _isClosing = true;
        UcxRequest* end = _close[0];
        ucp_request_param parameters = new()
        {
            op_attr_mask = UcpOp.UCP_OP_ATTR_FIELD_USER_DATA | UcpOp.UCP_OP_ATTR_FIELD_CALLBACK | UcpOp.UCP_OP_ATTR_FIELD_FLAGS,
            flags = isForced ? UcpOp.UCP_EP_CLOSE_FLAG_FORCE : 0,
            user_data = end,
            cb = UcxRequest.Closed,
        };
        void* request = _context.Library.Exports.ucp_ep_close_nbx(_endpoint, &parameters);
        if (request == null || UcxLibrary.IsError(request))
            UcxMailbox.Put(end, UcxLibrary.StatusOf(request));
        else
            _closeRequest = request;
    }

    /// <summary>Releases the request of an unfinished close before the worker is destroyed.</summary>
    public void GiveUpClose()
    {
        if (_closeRequest != null)
            _context.Library.Exports.ucp_request_free(_closeRequest);
    }

    /// <summary>Frees memory that UCX no longer uses.</summary>
    public void Free()
    {
        if (_isFreed)
            return;
        _isFreed = true;
        _failure.Free();
        _close.Free();
        _handle.Free();
    }

    private UcxFlush Take_NeedsLock(UcxFlushes flushes)
    {
        UcxFlush flush = flushes.Take();
        _flushes++;
        flush.Connection = this;
        (_unflushed, flush.Writes) = (flush.Writes, _unflushed);
        return flush;
    }
}
