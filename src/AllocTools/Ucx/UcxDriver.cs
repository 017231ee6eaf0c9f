using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Drivers;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>The UCX part of an endpoint: a worker, and a connection for each peer.</summary>
/// <remarks>
/// If UCX is built with thread support, any thread calls it; otherwise each call holds a lock. Callbacks put requests
/// into a mailbox, which the progress turn empties: reports may post operations, which is not allowed inside a call of
/// UCX. See <see cref="UcxConnection"/> for the completion of writes.
/// </remarks>
internal sealed unsafe partial class UcxDriver : RmaEndpointDriver
{
    /// <summary>The maximum number of progress calls in a turn, and of requests that are processed between them.</summary>
    private const int MostProgress = 64;

    /// <summary>The time for which closing waits until peers have received their messages.</summary>
    private static readonly TimeSpan CloseTime = TimeSpan.FromSeconds(2);

    private readonly UcxContext _context;
    private readonly Lock? _calls;
    private readonly void* _worker;
    private readonly UcxMailbox* _mailbox;
    private readonly UcxPoster _poster;
    private readonly UcxNotifications _notifications;
    private readonly int _waitDescriptor = -1;
    private readonly int _maxOutstanding;
    private readonly Lock _connectionsGate = new();
    private readonly Dictionary<ulong, UcxConnection> _connections = [];
    // This includes those that are being closed.
    private readonly HashSet<UcxConnection> _allConnections = [];
    private readonly ConcurrentDictionary<ulong, UcxPeer> _senders = new();
    // These are replaced connections, which are kept until their operations have ended.
    private readonly List<UcxConnection> _retired = [];
    private volatile bool _hasRetired;
    private ulong _lastNumber;
    private int _closing;

    public UcxDriver(UcxContext context, RmaEndpointOptions options)
    {
        _context = context;
        _maxOutstanding = options.MaxOutstanding;
        UcxLibrary library = context.Library;
        ucp_worker_params parameters = new() { field_mask = UcpField.UCP_WORKER_PARAM_FIELD_THREAD_MODE, thread_mode = context.ThreadMode };
        void* worker;
        using (new UcxCall(context.Calls))
            Check(library.Exports.ucp_worker_create(context.Handle, &parameters, &worker), "ucp_worker_create");
        _worker = worker;
        try
        {
            ucp_worker_attr attributes = new() { field_mask = UcpField.UCP_WORKER_ATTR_FIELD_THREAD_MODE };
            using (new UcxCall(context.Calls))
                Check(library.Exports.ucp_worker_query(worker, &attributes), "ucp_worker_query");
            _calls = context.Calls ?? (attributes.thread_mode == UcpMode.UCS_THREAD_MODE_MULTI ? null : new Lock());
            ulong number = UcxTag.NewNumber();
            Address = UcxAddress.Compose(number, context.ErrorHandling, ReadWorkerAddress());
            if (options.Progress == RmaProgress.Endpoint)
            {
                int descriptor;
                using (new UcxCall(_calls))
                    Check(library.Exports.ucp_worker_get_efd(worker, &descriptor), "ucp_worker_get_efd");
                _waitDescriptor = descriptor;
            }
            _mailbox = (UcxMailbox*)NativeMemory.AllocZeroed((nuint)sizeof(UcxMailbox));
            _poster = new UcxPoster(this, context, worker, _calls, _mailbox, options.MaxOutstanding, number);
            _notifications = new UcxNotifications(context, worker, _calls, _mailbox);
        }
        catch
        {
            using (new UcxCall(context.Calls))
                library.Exports.ucp_worker_destroy(worker);
            _notifications?.Free();
            _poster?.Free();
            NativeMemory.Free(_mailbox);
            throw;
        }

        void Check(sbyte status, string operation)
        {
            if (status != UcsStatus.UCS_OK)
                throw UcxErrors.Provider(library, operation, status, UcxEnvironment.DescribeSettings());
        }
    }

    public override ReadOnlyMemory<byte> Address { get; }

    /// <summary>The number of connections, including those that are being closed.</summary>
    public int Connections
    {
        get
        {
            lock (_connectionsGate)
                return _allConnections.Count;
        }
    }

    public override int WaitDescriptor => _waitDescriptor;

    /// <inheritdoc cref="UcxPoster.StartedFlushes"/>
    public long StartedFlushes => _poster.StartedFlushes;

    /// <summary>The worker continues outstanding operations until it is destroyed, and may still transmit messages that count as sent.</summary>
    public override bool MustRecallBeforeClosing => true;

    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        RmaPostResult result = _poster.Post(operation);
        // An operation has ended inside the call, so no event will be raised for it.
        if (!_mailbox->IsEmpty)
            Wake();
        return result;
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        bool happened = false;
        for (int i = 0; i < MostProgress && Progress() != 0; i++)
            happened = true;
        happened |= TakeEnded(completions);
        if (_poster.FlushDue())
        {
            happened = true;
            TakeEnded(completions);
        }
        if (_hasRetired)
            CloseRetired();
        _notifications.PostReceives();
        return happened ? RmaReadResult.Something : RmaReadResult.Nothing;
    }

    public override void Cancel(RmaDriverOperation operation)
    {
        // UCX can't cancel anything else.
        if (operation.Kind == RmaOperationKind.Receive)
            _poster.Cancel(operation.Index);
    }

    public override RmaWaitState PrepareToWait(out string? reason)
    {
        reason = null;
        if (!_mailbox->IsEmpty || _poster.HasDue)
            return RmaWaitState.ReadFirst;
        sbyte status;
        using (new UcxCall(_calls))
            status = _context.Library.Exports.ucp_worker_arm(_worker);
        if (status is UcsStatus.UCS_OK or UcsStatus.UCS_ERR_BUSY)
            return status == UcsStatus.UCS_OK ? RmaWaitState.Ready : RmaWaitState.ReadFirst;
        reason = $"ucp_worker_arm failed: {_context.Library.TextOf(status)}";
        return RmaWaitState.Broken;
    }

    public override bool Close(bool isRecalled)
    {
        _notifications.Cancel();
        UcxConnection[] connections;
        lock (_connectionsGate)
        {
            connections = [.. _connections.Values, .. _retired];
            _connections.Clear();
            _retired.Clear();
        }
        bool mayForce = _context.ErrorHandling == UcxErrorHandling.Peer;
        // This is determined before any connection is dropped, because an operation that a forced close ends here may continue at the peer.
        bool isDone = isRecalled || !_context.LetsPeersCopy || !_poster.HasMessages;
        List<UcxConnection> busy = [];
        foreach (UcxConnection connection in connections)
        {
            bool isBusy = _poster.IsOutstanding(connection);
            if (isBusy && !mayForce)
                busy.Add(connection);
            else
                BeginClose(connection, isForced: isBusy || connection.HasFailed, isBusy);
        }
        long start = Stopwatch.GetTimestamp();
        SpinWait spin = default;
        do
        {
            if (Progress() == 0)
                spin.SpinOnce();
            _poster.FlushDue();
            for (UcxRequest* request = _mailbox->TakeAll(), next; request != null; request = next)
            {
                next = request->Next;
                if (request->Kind == UcxRequestKind.Close)
                    EndClose(request);
                else if (request->Kind == UcxRequestKind.Operation)
                    _poster.Forget(request);
                else if (request->Kind == UcxRequestKind.Flush)
                    _poster.ForgetFlush((UcxFlush)GCHandle.FromIntPtr(request->Owner).Target!);
            }
            for (int i = busy.Count - 1; i >= 0; i--)
            {
                if (_poster.IsOutstanding(busy[i]))
                    continue;
                BeginClose(busy[i], busy[i].HasFailed, isBusy: false);
                busy.RemoveAt(i);
            }
        }
        while ((busy.Count > 0 || Volatile.Read(ref _closing) > 0) && Stopwatch.GetElapsedTime(start) < CloseTime);
        FlushWorker(start);
        lock (_connectionsGate)
            connections = [.. _allConnections];
        foreach (UcxConnection connection in connections)
        {
            // UCX may use the keys of unfinished operations until the worker is destroyed, and frees them with it.
            connection.EndKeys(_calls, areInUse: _poster.IsOutstanding(connection));
            using (new UcxCall(_calls))
                connection.GiveUpClose();
        }
        using (new UcxCall(_calls))
            _context.Library.Exports.ucp_worker_destroy(_worker);
        _poster.Free();
        _notifications.Free();
        foreach (UcxConnection connection in connections)
            connection.Free();
        NativeMemory.Free(_mailbox);
        return isDone;
    }

    /// <summary>
    /// Waits for a limited time for UCX's own messages. A connecting peer creates a connection that is unknown here,
    /// and UCX 1.13.1 aborts the process if the answer to it is still queued when the worker is destroyed
    /// (ucp_request.c:684, "got REP message").
    /// </summary>
    private void FlushWorker(long start)
    {
        ucp_request_param none = default;
        void* flush;
        using (new UcxCall(_calls))
            flush = _context.Library.Exports.ucp_worker_flush_nbx(_worker, &none);
        if (flush == null || UcxLibrary.IsError(flush))
            return;
        SpinWait spin = default;
        while (IsUnderWay(flush) && Stopwatch.GetElapsedTime(start) < CloseTime)
        {
            if (Progress() == 0)
                spin.SpinOnce();
        }
        using (new UcxCall(_calls))
            _context.Library.Exports.ucp_request_free(flush);
    }

    private bool IsUnderWay(void* request)
    {
        using (new UcxCall(_calls))
            return _context.Library.Exports.ucp_request_check_status(request) == UcsStatus.UCS_INPROGRESS;
    }

    /// <summary>Called when writes must be flushed by a progress turn, which no event would trigger.</summary>
    public void WakeForDue() => Wake();

    private uint Progress()
    {
        using (new UcxCall(_calls))
            return _context.Library.Exports.ucp_worker_progress(_worker);
    }

    private bool TakeEnded(RmaDriverCompletions completions)
    {
        UcxRequest* request = _mailbox->TakeAll();
        bool happened = request != null;
        while (request != null)
        {
            // The index may belong to another operation once this one is reported.
            UcxRequest* next = request->Next;
            switch (request->Kind)
            {
                case UcxRequestKind.Operation:
                    _poster.End(completions, request);
                    break;
                case UcxRequestKind.Flush:
                    _poster.EndFlush(completions, (UcxFlush)GCHandle.FromIntPtr(request->Owner).Target!);
                    break;
                case UcxRequestKind.NotificationReceive:
                    if (_notifications.TryTake(request, out ulong number))
                        completions.Notify(number, FindSender(request));
                    break;
                case UcxRequestKind.Failure:
                    Fail((UcxConnection)GCHandle.FromIntPtr(request->Owner).Target!, request->Status);
                    break;
                default:
                    EndClose(request);
                    break;
            }
            request = next;
        }
        return happened;
    }

    private byte[] ReadWorkerAddress()
    {
        byte[] copy;
        using (new UcxCall(_calls))
        {
            void* address;
            nuint length;
            sbyte status = _context.Library.Exports.ucp_worker_get_address(_worker, &address, &length);
            if (status != UcsStatus.UCS_OK)
                throw UcxErrors.Provider(_context.Library, "ucp_worker_get_address", status);
            copy = new ReadOnlySpan<byte>(address, (int)length).ToArray();
            _context.Library.Exports.ucp_worker_release_address(_worker, address);
        }
        return copy.Length <= MostWorkerAddress
            ? copy
            : throw new RmaProviderException($"An endpoint of provider '{UcxContext.ProviderName}' has an address of {copy.Length} bytes; peers accept at most {MostWorkerAddress}. Name fewer Devices.");
    }

    /// <summary>The longest address of a worker, which leaves space for the other parts of an endpoint's address.</summary>
    private const int MostWorkerAddress = EndpointAddress.MaxLength - 256;
}
