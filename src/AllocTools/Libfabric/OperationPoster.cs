using AllocTools.Endpoints.Engine;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>Turns a slot into libfabric's calls (fi_rma(3), fi_msg(3)).</summary>
/// <remarks>
/// Writes and sends pass the completion level as a flag of the call: net of libfabric 1.17 forgets the level that its
/// endpoint was opened with, and then completes before the bytes are there.
/// </remarks>
internal sealed unsafe class OperationPoster(TransmitLanes lanes, RmaProviderTraits traits, fi_context2* contexts, ReceiveOverflow? overflow, DeliveryGauge? gauge)
{
    private readonly fi_context2* _contexts = contexts;
    private readonly long _maxPart = traits.MaxMessageSize;
    private readonly ulong _levelFlags = FiFlags.FI_COMPLETION | (traits.DeliveryComplete ? FiFlags.FI_DELIVERY_COMPLETE : 0);

    /// <summary>Posts an operation, or its next part where it is longer than the transport's messages.</summary>
    /// <returns>libfabric's status; -FI_EAGAIN where the transport took nothing.</returns>
    public nint Post(OperationSlot slot)
    {
        long done = slot.Transferred;
        void* local = (void*)(slot.Address + (nint)done);
        void* descriptor = (void*)slot.LocalDescriptor;
        void* context = &_contexts[slot.Index];
        long part = Math.Min(slot.Length - done, _maxPart);
        slot.PartLength = part;
        EndpointHandle endpoint = lanes.For(slot);
        Doorbell? bell = lanes.BellOf(slot);
        nint status = slot.Kind switch
        {
            RmaOperationKind.Write => Write(endpoint, slot, local, (nuint)part, descriptor, slot.RemoteAddress + (ulong)done, context),
            RmaOperationKind.Read => endpoint.Read(local, (nuint)part, descriptor, slot.Peer, slot.RemoteAddress + (ulong)done, slot.Key, context),
            RmaOperationKind.Send when slot.Flow is { } flow => SendWithin(endpoint, flow, slot, local, descriptor, context),
            RmaOperationKind.Send => Send(endpoint, slot, local, (nuint)part, descriptor, context),
            _ => CountReceive(endpoint, slot, local, descriptor, context),
        };
        if (status == 0)
            bell?.Ring();
        return status;
    }

    private nint Write(EndpointHandle endpoint, OperationSlot slot, void* local, nuint length, void* descriptor, ulong remoteAddress, void* context)
    {
        iovec from = new() { iov_base = local, iov_len = length };
        fi_rma_iov to = new() { addr = remoteAddress, len = length, key = slot.Key };
        fi_msg_rma message = new()
        {
            msg_iov = &from,
            desc = &descriptor,
            iov_count = 1,
            addr = slot.Peer,
            rma_iov = &to,
            rma_iov_count = 1,
            context = context,
        };
        return endpoint.WriteMsg(&message, _levelFlags);
    }

    private nint Send(EndpointHandle endpoint, OperationSlot slot, void* local, nuint length, void* descriptor, void* context)
    {
        iovec from = new() { iov_base = local, iov_len = length };
        fi_msg message = new()
        {
            msg_iov = &from,
            desc = &descriptor,
            iov_count = 1,
            addr = slot.Peer,
            context = context,
        };
        // An empty message has no bytes to be delivered, and shm (libfabric 1.17) would never complete it.
        return endpoint.SendMsg(&message, length == 0 ? FiFlags.FI_COMPLETION : _levelFlags);
    }

    /// <summary>Sends what the peer's window allows, or asks the peer. Once the transport took either, the slot is not touched any more.</summary>
    private nint SendWithin(EndpointHandle endpoint, PeerFlow flow, OperationSlot slot, void* local, void* descriptor, void* context)
    {
        if (slot.Stage == SendStage.Confirm)
            return Ask(endpoint, flow, slot, context);
        bool isAdmitted = slot.Stage == SendStage.Admitted;
        if (isAdmitted || flow.TryAdmit())
        {
            nint status = Send(endpoint, slot, local, (nuint)slot.Length, descriptor, context);
            if (status != 0 && !isAdmitted)
                flow.Unadmit();
            return status;
        }
        if (!flow.TryBeginAsking(slot))
            return -FiErrno.FI_EAGAIN;
        slot.Stage = SendStage.Ask;
        nint asked = Ask(endpoint, flow, slot, context);
        if (asked != 0)
        {
            slot.Stage = SendStage.Send;
            flow.EndAsking(slot);
        }
        return asked;
    }

    private nint Ask(EndpointHandle endpoint, PeerFlow flow, OperationSlot slot, void* context) =>
        endpoint.Read(gauge!.AnswerOf(slot), sizeof(long), null, slot.Peer, flow.Address, flow.Key, context);

    private nint CountReceive(EndpointHandle endpoint, OperationSlot slot, void* local, void* descriptor, void* context)
    {
        // First: its completion may be read before the call returns.
        gauge?.OnReceivePosted();
        nint status = Receive(endpoint, slot, local, descriptor, context);
        if (status != 0)
            gauge?.OnReceiveEnded();
        return status;
    }

    private nint Receive(EndpointHandle endpoint, OperationSlot slot, void* local, void* descriptor, void* context)
    {
        if (overflow is null || slot.Length >= overflow.Length)
            return endpoint.Receive(local, (nuint)slot.PartLength, descriptor, slot.Peer, context);
        iovec* into = stackalloc iovec[2];
        into[0] = new iovec { iov_base = local, iov_len = (nuint)slot.Length };
        into[1] = new iovec { iov_base = (void*)overflow.Address, iov_len = (nuint)(overflow.Length - slot.Length) };
        void** descriptors = stackalloc void*[2];
        descriptors[0] = descriptor;
        descriptors[1] = null;
        fi_msg message = new()
        {
            msg_iov = into,
            desc = descriptors,
            iov_count = 2,
            addr = slot.Peer,
            context = context,
        };
        return endpoint.RecvMsg(&message, FiFlags.FI_COMPLETION);
    }
}
