using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>Executes operations with calls of UCX, and converts the ends of requests into completions.</summary>
internal sealed unsafe partial class UcxPoster(UcxDriver driver, UcxContext context, void* worker, Lock? calls, UcxMailbox* mailbox, int maxOutstanding, ulong number)
{
    private readonly void* _worker = worker;
    private readonly UcxMailbox* _mailbox = mailbox;
    private readonly UcxRequests _requests = new(maxOutstanding, context.RequestSize, UcxRequestKind.Operation, mailbox);
    private readonly UcxPostedOperation[] _posted = new UcxPostedOperation[maxOutstanding];
    private readonly UcxDueConnections _due = new();
    private readonly List<UcxConnection> _round = [];
    private readonly UcxFlushes _flushes = new(context, mailbox, maxOutstanding);

    /// <summary>Whether writes wait for a progress turn to flush them.</summary>
    public bool HasDue => _due.Any;

    /// <summary>The number of started flushes.</summary>
    public long StartedFlushes => _flushes.Taken;

    /// <summary>Whether a message is outstanding, on either side.</summary>
    public bool HasMessages => Array.Exists(_posted, static p => p.IsOutstanding && p.Kind is RmaOperationKind.Send or RmaOperationKind.Receive);

    public RmaPostResult Post(RmaDriverOperation operation)
    {
        ref UcxPostedOperation posted = ref _posted[operation.Index];
        if (posted.Use != operation.Use)
        {
            posted.Use = operation.Use;
            posted.Kind = operation.Kind;
            posted.Connection = (operation.Peer as UcxPeer)?.Connection;
            posted.Notifies = operation.Notification is not null;
            posted.IsNotifying = false;
        }
        // This precedes the call: the operation may end, and its object be reused, before the call returns.
        Volatile.Write(ref posted.IsOutstanding, true);
        if (posted.Connection is { IsRetired: true })
        {
            posted.IsOutstanding = false;
            return RmaPostResult.Refused(UcxErrors.NumberOf(UcsStatus.UCS_ERR_CONNECTION_RESET));
        }
        return operation.Kind switch
        {
            RmaOperationKind.Write when posted.IsNotifying => Notify(operation, ref posted),
            RmaOperationKind.Write => Write(operation, ref posted),
            RmaOperationKind.Read => Read(operation, ref posted),
            RmaOperationKind.Send => Send(operation, ref posted),
            _ => Receive(operation, ref posted),
        };
    }

    /// <summary>Starts all flushes that are due. The caller must hold the progress turn.</summary>
    public bool FlushDue()
    {
        if (!_due.Any)
            return false;
        _due.TakeAll(_round);
        foreach (UcxConnection connection in _round)
        {
            if (connection.TakeDue(_flushes) is { } flush)
                Start(flush);
        }
        _round.Clear();
        return true;
    }

    /// <summary>Asks UCX to cancel a receive. The caller must hold the progress turn.</summary>
    public void Cancel(int index)
    {
        using (new UcxCall(calls))
            context.Library.Exports.ucp_request_cancel(_worker, _requests[index]);
    }

    /// <summary>Processes an operation's request that has ended. The caller must hold the progress turn.</summary>
    public void End(RmaDriverCompletions completions, UcxRequest* request)
    {
        int index = request->Index;
        sbyte status = request->Status;
        ref UcxPostedOperation posted = ref _posted[index];
        if (posted.Kind == RmaOperationKind.Write && !posted.IsNotifying)
        {
            posted.EndPut(status);
            if (posted.HasFlushEnded)
                EndWrite(completions, index);
            return;
        }
        posted.IsOutstanding = false;
        if (status != UcsStatus.UCS_OK)
            Fail(completions, index, request, status);
        else if (posted.Kind == RmaOperationKind.Receive)
            completions.Complete(index, (long)request->Info.length, driver.FindSender(request));
        else
            completions.Complete(index, 0);
    }

    /// <summary>Processes a flush that has ended, and with it the writes that it covers. The caller must hold the progress turn.</summary>
    public void EndFlush(RmaDriverCompletions completions, UcxFlush flush)
    {
        sbyte status = flush.Request->Status;
        // This precedes all reports, because writes that a report posts may be flushed immediately.
        flush.Connection.EndFlush();
        foreach (int index in flush.Writes)
        {
            ref UcxPostedOperation posted = ref _posted[index];
            posted.HasFlushEnded = true;
            posted.Note(status);
            if (posted.HasPutEnded)
                EndWrite(completions, index);
        }
        _flushes.GiveBack(flush);
    }

    /// <summary>Whether operations with a peer are outstanding. No operation may be posted to it meanwhile.</summary>
    public bool IsOutstanding(UcxConnection connection) => Array.Exists(_posted, p => p.IsOutstanding && p.Connection == connection);

    /// <summary>Frees all native memory, once the worker is destroyed.</summary>
    public void Free()
    {
        _requests.Free();
        _flushes.Free();
    }

    private RmaPostResult Write(RmaDriverOperation operation, ref UcxPostedOperation posted)
    {
        int index = operation.Index;
        long length = operation.Length;
        bool hasMore = operation.HasMore;
        posted.HasPutEnded = posted.HasFlushEnded = false;
        posted.Error = UcsStatus.UCS_OK;
        ucp_request_param parameters = Parameters(operation, UcxRequest.Ended);
        void* result;
        using (new UcxCall(calls))
        {
            result = context.Library.Exports.ucp_put_nbx(
                posted.Connection!.Endpoint, (void*)operation.Address, (nuint)length, operation.RemoteAddress, (void*)operation.Key, &parameters);
        }
        if (UcxLibrary.IsError(result))
            return Refused(ref posted, result);
        // The index keeps belonging to this operation until a flush covers it, whatever its request does.
        if (result == null)
            posted.HasPutEnded = true;
        // From this point another write's flush may cover the operation, and its index may belong to another one.
        if (posted.Connection.AddWrite(index, hasMore, _due, _flushes) is not { } flush || !Start(flush, index))
            return RmaPostResult.Posted;
        if (posted.Notifies)
        {
            posted.IsNotifying = true;
            return Notify(operation, ref posted);
        }
        posted.IsOutstanding = false;
        return RmaPostResult.Done(length);
    }

    private RmaPostResult Notify(RmaDriverOperation operation, ref UcxPostedOperation posted)
    {
        UcxRequest* request = _requests[operation.Index];
        request->Number = operation.Notification!.Value;
        ucp_request_param parameters = new()
        {
            op_attr_mask = UcpOp.UCP_OP_ATTR_FIELD_REQUEST | UcpOp.UCP_OP_ATTR_FIELD_CALLBACK,
            request = request,
            cb = UcxRequest.Ended,
        };
        long length = operation.Length;
        void* result;
        using (new UcxCall(calls))
            result = context.Library.Exports.ucp_tag_send_nbx(posted.Connection!.Endpoint, &request->Number, sizeof(ulong), UcxTag.Notification | number, &parameters);
        return Result(ref posted, result, length);
    }

    private RmaPostResult Read(RmaDriverOperation operation, ref UcxPostedOperation posted)
    {
        ucp_request_param parameters = Parameters(operation, UcxRequest.Ended);
        long length = operation.Length;
        void* result;
        using (new UcxCall(calls))
        {
            result = context.Library.Exports.ucp_get_nbx(
                posted.Connection!.Endpoint, (void*)operation.Address, (nuint)length, operation.RemoteAddress, (void*)operation.Key, &parameters);
        }
        return Result(ref posted, result, length);
    }

    private RmaPostResult Send(RmaDriverOperation operation, ref UcxPostedOperation posted)
    {
        ucp_request_param parameters = Parameters(operation, UcxRequest.Ended);
        long length = operation.Length;
        void* result;
        using (new UcxCall(calls))
            result = context.Library.Exports.ucp_tag_send_nbx(posted.Connection!.Endpoint, (void*)operation.Address, (nuint)length, UcxTag.Message | number, &parameters);
        return Result(ref posted, result, length);
    }

    private RmaPostResult Receive(RmaDriverOperation operation, ref UcxPostedOperation posted)
    {
        ucp_request_param parameters = Parameters(operation, UcxRequest.Received);
        // A receive that completes immediately would not report the length of a message that did not fit.
        parameters.op_attr_mask |= UcpOp.UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
        void* result;
        using (new UcxCall(calls))
            result = context.Library.Exports.ucp_tag_recv_nbx(_worker, (void*)operation.Address, (nuint)operation.Length, UcxTag.Message, UcxTag.KindMask, &parameters);
        return UcxLibrary.IsError(result) ? Refused(ref posted, result) : RmaPostResult.Posted;
    }

    private ucp_request_param Parameters(RmaDriverOperation operation, void* callback) => new()
    {
        op_attr_mask = UcpOp.UCP_OP_ATTR_FIELD_REQUEST | UcpOp.UCP_OP_ATTR_FIELD_CALLBACK | UcpOp.UCP_OP_ATTR_FIELD_MEMORY_TYPE | UcpOp.UCP_OP_ATTR_FIELD_MEMH,
        request = _requests[operation.Index],
        cb = callback,
        memory_type = UcpMode.UCS_MEMORY_TYPE_HOST,
        memh = (void*)operation.LocalDescriptor,
    };

    /// <summary>
    /// Returns the result of an operation that ends with its request. If UCX has accepted it, its index may already
    /// belong to another operation.
    /// </summary>
    private static RmaPostResult Result(ref UcxPostedOperation posted, void* result, long length)
    {
        if (result != null)
            return UcxLibrary.IsError(result) ? Refused(ref posted, result) : RmaPostResult.Posted;
        posted.IsOutstanding = false;
        return RmaPostResult.Done(length);
    }

    private static RmaPostResult Refused(ref UcxPostedOperation posted, void* result)
    {
        posted.IsOutstanding = false;
        return RmaPostResult.Refused(UcxErrors.NumberOf(UcxLibrary.StatusOf(result)));
    }

    /// <summary>Starts a flush. If it ends immediately, the mailbox receives it, unless the result is true.</summary>
    /// <param name="flush">The flush.</param>
    /// <param name="alone">The write that requested it; -1 for none.</param>
    /// <returns>True if the flush has ended, covers only this write, and the write has completed.</returns>
    private bool Start(UcxFlush flush, int alone = -1)
    {
        UcxConnection connection = flush.Connection;
        ucp_request_param parameters = new()
        {
            op_attr_mask = UcpOp.UCP_OP_ATTR_FIELD_REQUEST | UcpOp.UCP_OP_ATTR_FIELD_CALLBACK,
            request = flush.Request,
            cb = UcxRequest.Ended,
        };
        void* result;
        using (new UcxCall(calls))
            result = context.Library.Exports.ucp_ep_flush_nbx(connection.Endpoint, &parameters);
        if (result != null && !UcxLibrary.IsError(result))
            return false;
        if (result != null || alone < 0 || flush.Writes.Count > 1 || !_posted[alone].HasPutSucceeded)
        {
            UcxMailbox.Put(flush.Request, UcxLibrary.StatusOf(result));
            return false;
        }
        connection.EndFlush();
        _flushes.GiveBack(flush);
        // Writes that were left to a turn meanwhile rely on an event at the end of this flush.
        if (_due.Any)
            driver.WakeForDue();
        return true;
    }

    private void EndWrite(RmaDriverCompletions completions, int index)
    {
        ref UcxPostedOperation posted = ref _posted[index];
        if (posted.Error != UcsStatus.UCS_OK)
        {
            posted.IsOutstanding = false;
            Fail(completions, index, _requests[index], posted.Error);
        }
        else if (posted.Notifies)
        {
            posted.IsNotifying = true;
            if (completions.TryContinue(index, isNext: true))
                return;
            posted.IsOutstanding = false;
            completions.Cancelled(index);
        }
        else
        {
            posted.IsOutstanding = false;
            completions.Complete(index, 0);
        }
    }

    private void Fail(RmaDriverCompletions completions, int index, UcxRequest* request, sbyte status)
    {
        if (status == UcsStatus.UCS_ERR_MESSAGE_TRUNCATED)
            completions.FailTruncated(index, (long)request->Info.length);
        else if (status == UcsStatus.UCS_ERR_CANCELED)
            completions.Cancelled(index);
        else
            completions.Fail(index, UcxErrors.NumberOf(status), context.Library.TextOf(status));
    }
}
