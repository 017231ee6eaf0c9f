using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>Executes operations with libfabric's calls (fi_rma(3), fi_msg(3)).</summary>
/// <remarks>
/// Writes and sends pass the completion level as a flag of the call: net of libfabric 1.17 forgets the level that its
/// endpoint was opened with, and then completes operations before the bytes have arrived.
/// </remarks>
internal sealed unsafe class LibfabricPoster(
    TransmitLanes lanes, RmaProviderTraits traits, PostedOperation[] posted, fi_context2* contexts, ReceiveOverflow? overflow, DeliveryGauge? gauge, TaggedNotifications? tags)
{
    private readonly fi_context2* _contexts = contexts;
    private readonly ulong _levelFlags = FiFlags.FI_COMPLETION | (traits.DeliveryComplete ? FiFlags.FI_DELIVERY_COMPLETE : 0);

    /// <summary>Posts an operation.</summary>
    /// <returns>libfabric's status; -FI_EAGAIN if the transport did not accept the operation.</returns>
    public nint Post(RmaDriverOperation operation)
    {
        int index = operation.Index;
        ref PostedOperation state = ref posted[index];
        if (state.Use != operation.Use)
        {
            state.Use = operation.Use;
            state.Stage = SendStage.Send;
            state.IsReceive = operation.Kind == RmaOperationKind.Receive;
            state.IsRead = operation.Kind == RmaOperationKind.Read;
            state.Mark = ReadMark.Of(operation);
            state.ReadsInVain = 0;
            state.Peer = (LibfabricPeer?)operation.Peer;
            state.Flow = operation.Kind == RmaOperationKind.Send ? state.Peer!.Flow : null;
        }
        EndpointHandle endpoint = lanes.For(ref state);
        // This is also done before the call.
        Doorbell? bell = state.IsReceive ? null : state.Peer!.File?.Bell;
        if (state.IsRead)
            state.Covered = ReadMark.Put(operation, state.Mark);
        // This comes first, because the completion may be read before the call returns.
        state.IsOutstanding = true;
        void* context = &_contexts[index];
        nint status = operation.Kind switch
        {
            RmaOperationKind.Write when state.Stage == SendStage.Notify => tags!.Send(operation.Notification!.Value, operation.Peer!.Number, context),
            RmaOperationKind.Write => Write(endpoint, operation, context),
            RmaOperationKind.Read => endpoint.Read((void*)operation.Address, (nuint)operation.Length, (void*)operation.LocalDescriptor, operation.Peer!.Number, operation.RemoteAddress, operation.Key, context),
            RmaOperationKind.Send when state.Flow is { } flow => SendWithin(endpoint, flow, ref state, operation, context),
            RmaOperationKind.Send => Send(endpoint, operation, context),
            _ => CountReceive(endpoint, operation, context),
        };
        if (status == 0)
        {
            bell?.Ring();
            return status;
        }
        state.IsOutstanding = false;
        if (state.IsRead)
            ReadMark.TryTakeBack(operation, state.Mark, state.Covered);
        return status;
    }

    /// <summary>Whether an operation is a send that waits for its peer to receive. The answer may be slightly out of date.</summary>
    public bool HoldsBack(RmaDriverOperation operation, bool isQueued)
    {
        if (operation.Peer is not LibfabricPeer { Flow.IsFull: true })
            return false;
        ref PostedOperation state = ref posted[operation.Index];
        SendStage stage = state.Use == operation.Use ? state.Stage : SendStage.Send;
        return stage == SendStage.Ask || (isQueued && stage == SendStage.Send);
    }

    /// <summary>Returns why a send was not started in time, or null if the reason is unknown.</summary>
    public static string? ExplainTimeout(RmaDriverOperation operation) => operation.Kind == RmaOperationKind.Send && operation.Peer is LibfabricPeer { Flow: { IsFull: true } flow }
        ? $"the message was not sent, because the peer has had no receive posted since the last {flow.Window} messages, the most that Provider:Endpoint:MaxUnreceivedMessages allows to accumulate in its memory. Its application must receive sooner, or post more receives. "
        : null;

    private nint Write(EndpointHandle endpoint, RmaDriverOperation operation, void* context)
    {
        void* descriptor = (void*)operation.LocalDescriptor;
        iovec from = new() { iov_base = (void*)operation.Address, iov_len = (nuint)operation.Length };
        fi_rma_iov to = new() { addr = operation.RemoteAddress, len = (nuint)operation.Length, key = operation.Key };
        fi_msg_rma message = new()
        {
            msg_iov = &from,
            desc = &descriptor,
            iov_count = 1,
            addr = operation.Peer!.Number,
            rma_iov = &to,
            rma_iov_count = 1,
            context = context,
            data = operation.Notification ?? 0,
        };
        return endpoint.WriteMsg(&message, FlagsOf(operation) | (operation.Notification is null || tags is not null ? 0 : FiFlags.FI_REMOTE_CQ_DATA));
    }

    private nint Send(EndpointHandle endpoint, RmaDriverOperation operation, void* context)
    {
        void* descriptor = (void*)operation.LocalDescriptor;
        iovec from = new() { iov_base = (void*)operation.Address, iov_len = (nuint)operation.Length };
        fi_msg message = new()
        {
            msg_iov = &from,
            desc = &descriptor,
            iov_count = 1,
            addr = operation.Peer!.Number,
            context = context,
        };
        // An empty message has no bytes to be delivered, and shm (libfabric 1.17) would never complete it.
        return endpoint.SendMsg(&message, operation.Length == 0 ? FiFlags.FI_COMPLETION : FlagsOf(operation));
    }

    private ulong FlagsOf(RmaDriverOperation operation) => _levelFlags | (operation.HasMore ? FiFlags.FI_MORE : 0);

    /// <summary>
    /// Sends the message if the peer's window allows it, or queries the peer. Once the transport has accepted either,
    /// the operation is not accessed any more.
    /// </summary>
    private nint SendWithin(EndpointHandle endpoint, PeerFlow flow, ref PostedOperation state, RmaDriverOperation operation, void* context)
    {
        if (state.Stage == SendStage.Confirm)
            return Ask(endpoint, flow, operation, context);
        bool isAdmitted = state.Stage == SendStage.Admitted;
        if (isAdmitted || flow.TryAdmit())
        {
            nint status = Send(endpoint, operation, context);
            if (status != 0 && !isAdmitted)
                flow.Unadmit();
            return status;
        }
        int index = operation.Index;
        if (!flow.TryBeginAsking(index))
            return -FiErrno.FI_EAGAIN;
        state.Stage = SendStage.Ask;
        nint asked = Ask(endpoint, flow, operation, context);
        if (asked != 0)
        {
            state.Stage = SendStage.Send;
            flow.EndAsking(index);
        }
        return asked;
    }

    private nint Ask(EndpointHandle endpoint, PeerFlow flow, RmaDriverOperation operation, void* context) =>
        endpoint.Read(gauge!.AnswerOf(operation.Index), sizeof(long), null, operation.Peer!.Number, flow.Address, flow.Key, context);

    private nint CountReceive(EndpointHandle endpoint, RmaDriverOperation operation, void* context)
    {
        // This comes first, because the completion may be read before the call returns.
        gauge?.OnReceivePosted();
        nint status = Receive(endpoint, operation, context);
        if (status != 0)
            gauge?.OnReceiveEnded();
        return status;
    }

    private nint Receive(EndpointHandle endpoint, RmaDriverOperation operation, void* context)
    {
        long length = operation.Length;
        if (overflow is null || length >= overflow.Length)
            return endpoint.Receive((void*)operation.Address, (nuint)length, (void*)operation.LocalDescriptor, FiConstants.FI_ADDR_UNSPEC, context);
        iovec* into = stackalloc iovec[2];
        into[0] = new iovec { iov_base = (void*)operation.Address, iov_len = (nuint)length };
        into[1] = new iovec { iov_base = (void*)overflow.Address, iov_len = (nuint)(overflow.Length - length) };
        void** descriptors = stackalloc void*[2];
        descriptors[0] = (void*)operation.LocalDescriptor;
        descriptors[1] = null;
        fi_msg message = new()
        {
            msg_iov = into,
            desc = descriptors,
            iov_count = 2,
            addr = FiConstants.FI_ADDR_UNSPEC,
            context = context,
        };
        return endpoint.RecvMsg(&message, FiFlags.FI_COMPLETION);
    }
}

/// <summary>The libfabric state of a posted operation.</summary>
internal struct PostedOperation
{
    /// <summary>Whether the operation's completion has not been read.</summary>
    public bool IsOutstanding;

    public bool IsReceive;

    public bool IsRead;

    /// <summary>The number of reads of this part that left their mark unchanged.</summary>
    public int ReadsInVain;

    /// <summary>The mark at the end of a read's buffer until the peer's bytes arrive (<see cref="ReadMark"/>).</summary>
    public ulong Mark;

    /// <summary>The bytes that the mark replaced.</summary>
    public ulong Covered;

    public LibfabricPeer? Peer;

    /// <summary>The use of the operation's object that the other fields belong to (<see cref="RmaDriverOperation.Use"/>).</summary>
    public long Use;

    /// <summary>The state of the receives of a send's peer; null if it is unknown, and for other operations.</summary>
    public PeerFlow? Flow;

    /// <summary>The stage of a send with a <see cref="Flow"/>.</summary>
    public SendStage Stage;

    /// <summary>The native endpoint through which the operation was posted; null if there is only one.</summary>
    public TransmitLane? Lane;

    /// <summary>The operation's sequence number among all posted operations.</summary>
    public long Order;
}
