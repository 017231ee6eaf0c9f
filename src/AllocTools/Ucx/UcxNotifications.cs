using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>
/// The receives for notifications of peers' writes: each notification is a separate message, which is sent once the
/// bytes have arrived.
/// </summary>
internal sealed unsafe class UcxNotifications
{
    /// <summary>The number of posted receives; further messages wait in UCX.</summary>
    public const int Receives = 64;

    private readonly UcxContext _context;
    private readonly void* _worker;
    private readonly Lock? _calls;
    private readonly UcxRequests _requests;
    private readonly bool[] _isPosted = new bool[Receives];
    private int _posted;

    public UcxNotifications(UcxContext context, void* worker, Lock? calls, UcxMailbox* mailbox)
    {
        _context = context;
        _worker = worker;
        _calls = calls;
        _requests = new UcxRequests(Receives, context.RequestSize, UcxRequestKind.NotificationReceive, mailbox);
    }

    /// <summary>Posts the receives that have ended. The caller must hold the progress turn.</summary>
    public void PostReceives()
    {
        for (int i = 0; _posted < Receives && i < Receives; i++)
        {
            if (!_isPosted[i])
                Post(i);
        }
    }

    /// <summary>Processes a receive that has ended. The caller must hold the progress turn.</summary>
    /// <returns>False if it has received no notification.</returns>
    public bool TryTake(UcxRequest* request, out ulong number)
    {
        _isPosted[request->Index] = false;
        _posted--;
        number = request->Number;
        return request->Status == UcsStatus.UCS_OK && request->Info.length == sizeof(ulong);
    }

    /// <summary>Cancels the receives.</summary>
    public void Cancel()
    {
        for (int i = 0; i < Receives; i++)
        {
            if (!_isPosted[i])
                continue;
            using (new UcxCall(_calls))
                _context.Library.Exports.ucp_request_cancel(_worker, _requests[i]);
        }
    }

    /// <summary>Frees the requests, once the worker is destroyed.</summary>
    public void Free() => _requests.Free();

    private void Post(int index)
    {
        UcxRequest* request = _requests[index];
        ucp_request_param parameters = new()
        {
            op_attr_mask = UcpOp.UCP_OP_ATTR_FIELD_REQUEST | UcpOp.UCP_OP_ATTR_FIELD_CALLBACK | UcpOp.UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
            request = request,
            cb = UcxRequest.Received,
        };
        void* result;
        // This precedes the call, which may put the request into the mailbox.
        _isPosted[index] = true;
        _posted++;
        using (new UcxCall(_calls))
            result = _context.Library.Exports.ucp_tag_recv_nbx(_worker, &request->Number, sizeof(ulong), UcxTag.Notification, UcxTag.KindMask, &parameters);
        if (!UcxLibrary.IsError(result))
            return;
        _isPosted[index] = false;
        _posted--;
    }
}
