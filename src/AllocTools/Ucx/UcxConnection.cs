using System.Runtime.InteropServices;
using AllocTools.Endpoints.Drivers;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>A peer that UCX may know.</summary>
internal sealed class UcxPeer(byte[] address) : RmaDriverPeer(address)
{
    private UcxConnection? _connection;

    /// <summary>The number that its messages bring.</summary>
    public ulong Sender { get; } = UcxAddress.NumberOf(address);

    /// <summary>Set before any operation is started with it.</summary>
    public UcxConnection Connection
    {
        get => Volatile.Read(ref _connection)!;
        set => Volatile.Write(ref _connection, value);
    }
}

/// <summary>UCX's side of a peer (ucp_ep_h): the keys that were unpacked for it, and the writes that no flush covers yet.</summary>
/// <remarks>
/// A put ends when its source may be used again, which says nothing of the target: the bytes are there once a flush that was started
/// after it has ended. So each write waits for a flush. One that is alone is flushed at once; those that are posted with more to come,
/// or while a flush is under way, are flushed together by the next turn.
/// </remarks>
internal sealed unsafe class UcxConnection
{
    private readonly UcxContext _context;
    // Of the writes: never held while UCX is called.
    private readonly Lock _gate = new();
    // Of the keys: held while UCX is called, for the worker must not be destroyed meanwhile.
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
        // Lists go round between connections and flushes, and never grow.
        _unflushed = new List<int>(maxOutstanding);
        _handle = GCHandle.Alloc(this);
        _failure = new UcxRequests(1, 0, UcxRequestKind.Failure, mailbox, GCHandle.ToIntPtr(_handle));
        _close = new UcxRequests(1, 0, UcxRequestKind.Close, mailbox, GCHandle.ToIntPtr(_handle));
    }

    /// <summary>ucp_ep_h.</summary>
    public void* Endpoint => _endpoint;

    /// <summary>Who it is to, for reports; null before it is in.</summary>
    public UcxPeer? Peer { get; set; }

    /// <summary>UCX has said that the peer is gone.</summary>
    public bool HasFailed
    {
        get => _hasFailed;
        set => _hasFailed = value;
    }

    /// <summary>Another one has taken its place: nothing is started with it any more.</summary>
    public bool IsRetired => _isRetired;

    /// <summary>Has nothing started with it from here on. What has been said before may go on.</summary>
    public void Retire()
    {
        lock (_keysGate)
            _areKeysGone = true;
        _isRetired = true;
        // The other side is UcxPoster.Post, which has none of its own.
        Interlocked.MemoryBarrierProcessWide();
    }

    /// <summary>Opens it.</summary>
    /// <param name="worker">The worker (ucp_worker_h).</param>
    /// <param name="address">The address of the peer's worker.</param>
    public sbyte Open(void* worker, ReadOnlySpan<byte> address)
    {
        // More than UCX reads where an address says that there is more to it than there is.
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

    /// <summary>Unpacks a key for it.</summary>
    /// <exception cref="RmaProviderException">UCX refused, or the connection is closed.</exception>
    public nint Unpack(ReadOnlySpan<byte> packed, Lock? calls)
    {
        // More than UCX reads of any key: one byte of length each for 64 devices.
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

    /// <summary>Gives a key back, unless all were. Any thread may call this, at any time.</summary>
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

    /// <summary>Gives all keys back, permanently: after the operations that use them, and before the connection, as ucp_rkey_destroy asks.</summary>
    /// <param name="calls">Taken for each call.</param>
    /// <param name="areInUse">Operations use them: they stay.</param>
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
    /// <param name="index">The write. Once another's flush covers it, it may be another operation.</param>
    /// <param name="hasMore">Others follow at once.</param>
    /// <param name="due">Is given this connection where a turn is to flush it.</param>
    /// <param name="flushes">Where a flush comes from.</param>
    /// <returns>A flush to start now, with the write and others; null for none.</returns>
    public UcxFlush? AddWrite(int index, bool hasMore, UcxDueConnections due, UcxFlushes flushes)
    {
        lock (_gate)
        {
            _unflushed.Add(index);
            if (!hasMore && _flushes == 0)
                return Take_NeedsLock(flushes);
            // Within the lock: at the end of the flush that is under way a turn looks for it.
            if (!_isDue)
                due.Add(this);
            _isDue = true;
            return null;
        }
    }

    /// <summary>Takes what a turn is to flush.</summary>
    /// <returns>A flush to start; null where there is nothing, or UCX frees its side of the connection.</returns>
    public UcxFlush? TakeDue(UcxFlushes flushes)
    {
        lock (_gate)
        {
            _isDue = false;
            return _isClosing || _unflushed.Count == 0 ? null : Take_NeedsLock(flushes);
        }
    }

    /// <summary>Takes whatever no flush covers yet, for the last flush of a connection that is to be closed.</summary>
    public UcxFlush TakeLast(UcxFlushes flushes)
    {
        lock (_gate)
            return Take_NeedsLock(flushes);
    }

    /// <summary>A flush is under way.</summary>
    public bool IsFlushing
    {
        get
        {
            lock (_gate)
                return _flushes > 0;
        }
    }

    /// <summary>A flush has ended.</summary>
    public void EndFlush()
    {
        lock (_gate)
            _flushes--;
    }

    /// <summary>Starts to close it. The mailbox gets the end of it.</summary>
    /// <param name="isForced">Without a word to the peer.</param>
    /// <remarks>
    /// The request is UCX's own: ucp_worker_destroy of UCX 1.13 aborts the process over one of ours that has not ended, which can't be
    /// given back before.
    /// </remarks>
    public void BeginClose(bool isForced)
    {
        // A forced close may free it at once.
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

    /// <summary>Gives the request of a close back that has not ended, before the worker is destroyed.</summary>
    public void GiveUpClose()
    {
        if (_closeRequest != null)
            _context.Library.Exports.ucp_request_free(_closeRequest);
    }

    /// <summary>Frees what UCX does not use any more.</summary>
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
