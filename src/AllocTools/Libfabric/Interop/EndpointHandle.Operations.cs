namespace AllocTools.Libfabric.Interop;

// Posting: see the class's remarks for who keeps what alive.
internal sealed unsafe partial class EndpointHandle
{
    /// <summary>Asks to give up the operation with this context; advice, which may not reach RMA. fi_endpoint(3).</summary>
    public nint Cancel(void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_ep* ops = endpoint->ops;
        return ops != null && FiOps.Has(ops, &ops->cancel) ? ops->cancel(&endpoint->fid, context) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_send. fi_msg(3).</summary>
    public nint Send(void* buffer, nuint length, void* descriptor, ulong destination, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->send)
            ? ops->send(endpoint, buffer, length, descriptor, destination, context)
            : -FiErrno.FI_ENOSYS;
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

    /// <summary>fi_inject: at most <c>inject_size</c> bytes, the buffer is free on return, no completion. fi_msg(3).</summary>
    public nint Inject(void* buffer, nuint length, ulong destination)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_msg* ops = endpoint->msg;
        return ops != null && FiOps.Has(ops, &ops->inject)
            ? ops->inject(endpoint, buffer, length, destination)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>fi_write. fi_rma(3).</summary>
    public nint Write(
        void* buffer, nuint length, void* descriptor, ulong destination, ulong address, ulong key, void* context)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->write)
            ? ops->write(endpoint, buffer, length, descriptor, destination, address, key, context)
            : -FiErrno.FI_ENOSYS;
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

    /// <summary>fi_inject_write: at most <c>inject_size</c> bytes, the buffer is free on return, no completion. fi_rma(3).</summary>
    public nint InjectWrite(void* buffer, nuint length, ulong destination, ulong address, ulong key)
    {
        fid_ep* endpoint = Pointer;
        fi_ops_rma* ops = endpoint->rma;
        return ops != null && FiOps.Has(ops, &ops->inject)
            ? ops->inject(endpoint, buffer, length, destination, address, key)
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
