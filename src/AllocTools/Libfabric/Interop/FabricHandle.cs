using AllocTools.Interop;

namespace AllocTools.Libfabric.Interop;

/// <summary>A fabric. fi_fabric(3).</summary>
internal sealed unsafe class FabricHandle : FidHandle
{
    public FabricHandle(fid_fabric* fabric)
        : base(fabric, null)
    {
    }

    public fid_fabric* Pointer => (fid_fabric*)handle;

    /// <summary>fi_domain(3).</summary>
    public int OpenDomain(fi_info* info, out DomainHandle? domain)
    {
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        using FidLease self = new(this);
        fi_ops_fabric* ops = Pointer->ops;
        fid_domain* opened = null;
        int status = ops != null && FiOps.Has(ops, &ops->domain)
            ? CheckOpened(ops->domain(Pointer, info, &opened, null), opened)
            : -FiErrno.FI_ENOSYS;
        domain = status == 0 ? new DomainHandle(opened, this) : null;
        return status;
    }

    /// <summary>
    /// Whether the queue's file descriptor may be waited on: 0 if so, -FI_EAGAIN if the queue must be read first.
    /// fi_poll(3).
    /// </summary>
    public int TryWait(CqHandle queue)
    {
        using FidLease self = new(this);
        using FidLease other = new(queue);
        fi_ops_fabric* ops = Pointer->ops;
        fid* waitedFor = &queue.Pointer->fid;
        return ops != null && FiOps.Has(ops, &ops->trywait) ? ops->trywait(Pointer, &waitedFor, 1) : -FiErrno.FI_ENOSYS;
    }
}
