using AllocTools.Interop;

namespace AllocTools.Libfabric.Interop;

/// <summary>An endpoint, with the calls that set it up and that post operations. fi_endpoint(3).</summary>
/// <remarks>
/// The methods that post, and <see cref="Cancel"/>, take no reference, allocate nothing, and look up the function
/// table at each call, because a provider may swap tables when an endpoint is enabled. Their caller holds one
/// reference (<see cref="FidHandle.Acquire"/>) for as long as it may call them. They return 0, a negative errno, or
/// -FI_EAGAIN if the completion queue must be read first. Once a call has returned 0, the memory and context of the
/// operation belong to libfabric until its completion has been read or the endpoint has been closed.
/// </remarks>
internal sealed unsafe class EndpointHandle : FidHandle
{
    public EndpointHandle(fid_ep* endpoint, DomainHandle domain)
        : base(endpoint, domain)
    {
    }

    public fid_ep* Pointer => (fid_ep*)handle;

    /// <summary>Binds a queue (flags: FI_SEND, FI_RECV) or an address vector (0), which stays open until this is closed.</summary>
    public int Bind(FidHandle other, ulong flags) => BindCore(other, flags);

    /// <summary>Opens the endpoint for traffic, after everything is bound.</summary>
    public int Enable()
    {
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        return ControlCore(FiCommand.FI_ENABLE, null);
    }

    /// <summary>Gets the endpoint's own address, for peers. fi_cm(3).</summary>
    /// <param name="address">Receives the address.</param>
    /// <param name="length">The length of the address in bytes; if the status is -FI_ETOOSMALL, the length that is
    /// needed.</param>
    public int GetName(Span<byte> address, out nuint length)
    {
        using FidLease self = new(this);
        fi_ops_cm* ops = Pointer->cm;
        nuint size = (nuint)address.Length;
        int status;
        fixed (byte* bytes = address)
            status = ops != null && FiOps.Has(ops, &ops->getname) ? ops->getname(Fid, bytes, &size) : -FiErrno.FI_ENOSYS;
        length = size;
        return status;
    }

    /// <summary>Requests that the operation with this context be cancelled. This is advice, which may not affect RMA. fi_endpoint(3).</summary>
    public nint Cancel(void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_ep* ops = endpoint->ops;
        return ops != null && FiOps.Has(ops, &ops->cancel) ? ops->cancel(&endpoint->fid, context) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_sendmsg. fi_msg(3).</summary>
    public nint SendMsg(fi_msg* message, ulong flags)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->sendmsg) ? ops->sendmsg(endpoint, message, flags) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_recv. fi_msg(3).</summary>
    public nint Receive(void* buffer, nuint length, void* descriptor, ulong source, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->recv)
            ? ops->recv(endpoint, buffer, length, descriptor, source, context)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_recvmsg. fi_msg(3).</summary>
    public nint RecvMsg(fi_msg* message, ulong flags)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->recvmsg) ? ops->recvmsg(endpoint, message, flags) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_inject: sends at most <c>inject_size</c> bytes; the buffer is free on return, and there is no completion. fi_msg(3).</summary>
    public nint Inject(void* buffer, nuint length, ulong destination)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->inject)
            ? ops->inject(endpoint, buffer, length, destination)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_trecv of a message without bytes, whatever its tag. fi_tagged(3).</summary>
    public nint ReceiveTag(void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_tagged* ops = endpoint->tagged;
        return ops != null && FiOps.Has(ops, &ops->recv)
            ? ops->recv(endpoint, null, 0, null, FiConstants.FI_ADDR_UNSPEC, 0, ulong.MaxValue, context)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_tsend of a message without bytes. fi_tagged(3).</summary>
    public nint SendTag(ulong destination, ulong tag, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_tagged* ops = endpoint->tagged;
        return ops != null && FiOps.Has(ops, &ops->send) ? ops->send(endpoint, null, 0, null, destination, tag, context) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_writemsg. fi_rma(3).</summary>
    public nint WriteMsg(fi_msg_rma* message, ulong flags)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->writemsg) ? ops->writemsg(endpoint, message, flags) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_writedata: a write with a completion, and <paramref name="data"/>, at the peer. fi_rma(3).</summary>
    public nint WriteData(
        void* buffer, nuint length, void* descriptor, ulong data, ulong destination, ulong address, ulong key, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->writedata)
            ? ops->writedata(endpoint, buffer, length, descriptor, data, destination, address, key, context)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_read. fi_rma(3).</summary>
    public nint Read(void* buffer, nuint length, void* descriptor, ulong source, ulong address, ulong key, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->read)
            ? ops->read(endpoint, buffer, length, descriptor, source, address, key, context)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_readmsg. fi_rma(3).</summary>
    public nint ReadMsg(fi_msg_rma* message, ulong flags)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->readmsg) ? ops->readmsg(endpoint, message, flags) : -FiErrno.FI_ENOSYS;
    }
}
