using System.Runtime.InteropServices;

namespace AllocTools.Libfabric.Interop;

/// <summary>A completion queue. fi_cq(3).</summary>
/// <remarks>
/// The methods that read take no reference, allocate nothing, and look up the function table at each call. Their
/// caller holds one reference (<see cref="FidHandle.Acquire"/>) for as long as it may call them.
/// </remarks>
internal sealed unsafe class CqHandle : FidHandle
{
    // fi_cq_err_entry has grown since 1.14 (src_addr); this is room for what a later library might write.
    private const int ErrEntryRoom = 256;
    private const int TextRoom = 512;

    public CqHandle(fid_cq* queue, DomainHandle domain)
        : base(queue, domain)
    {
    }

    public fid_cq* Pointer => (fid_cq*)handle;

    /// <summary>
    /// Reads completions of the queue's format. The caller keeps the handle open.
    /// </summary>
    /// <returns>The number of completions that were read; -FI_EAGAIN if there are none, -FI_EAVAIL if <see cref="ReadErr"/> must be called.</returns>
    public nint Read(void* entries, nuint count)
    {
        fid_cq* queue = Pointer;
        fi_ops_cq* ops = queue->ops;
        return ops != null && FiOps.Has(ops, &ops->read) ? ops->read(queue, entries, count) : -FiErrno.FI_ENOSYS;
    }

    /// <summary>Like <see cref="Read"/>, but also returns the source of each completion; FI_ADDR_NOTAVAIL if it is not known.</summary>
    public nint ReadFrom(void* entries, nuint count, ulong* sources)
    {
        fid_cq* queue = Pointer;
        fi_ops_cq* ops = queue->ops;
        return ops != null && FiOps.Has(ops, &ops->readfrom)
            ? ops->readfrom(queue, entries, count, sources)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>Like <see cref="Read"/>, but blocks. shm of 1.17 ignores the time-out and can block forever.</summary>
    /// <param name="entries">Receives the completions.</param>
    /// <param name="count">The number of completions that fit.</param>
    /// <param name="condition">Null, or the condition that the queue's wait_cond requires.</param>
    /// <param name="milliseconds">The time-out; negative for no limit.</param>
    public nint SRead(void* entries, nuint count, void* condition, int milliseconds)
    {
        fid_cq* queue = Pointer;
        fi_ops_cq* ops = queue->ops;
        return ops != null && FiOps.Has(ops, &ops->sread)
            ? ops->sread(queue, entries, count, condition, milliseconds)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>Like <see cref="SRead"/>, but also returns the source of each completion; FI_ADDR_NOTAVAIL if it is not known.</summary>
    public nint SReadFrom(void* entries, nuint count, ulong* sources, void* condition, int milliseconds)
    {
        fid_cq* queue = Pointer;
        fi_ops_cq* ops = queue->ops;
        return ops != null && FiOps.Has(ops, &ops->sreadfrom)
            ? ops->sreadfrom(queue, entries, count, sources, condition, milliseconds)
            : -FiErrno.FI_ENOSYS;
    }

    /// <summary>Reads one failed operation. The caller keeps the handle open.</summary>
    /// <param name="entry">
    /// Set <c>err_data_size</c> to 0, so that <c>err_data</c> is the provider's until the next read, or pass a buffer.
    /// <c>err</c> may be negative on return.
    /// </param>
    /// <param name="flags">0.</param>
    /// <returns>1 if an entry was read, -FI_EAGAIN if there is none.</returns>
    public nint ReadErr(fi_cq_err_entry* entry, ulong flags)
    {
        fid_cq* queue = Pointer;
        fi_ops_cq* ops = queue->ops;
        if (ops == null || !FiOps.Has(ops, &ops->readerr))
            return -FiErrno.FI_ENOSYS;

        byte* room = stackalloc byte[ErrEntryRoom];
        NativeMemory.Clear(room, ErrEntryRoom);
        *(fi_cq_err_entry*)room = *entry;
        nint read = ops->readerr(queue, (fi_cq_err_entry*)room, flags);
        *entry = *(fi_cq_err_entry*)room;
        return read;
    }

    /// <summary>Returns the provider's text for <c>prov_errno</c> and <c>err_data</c>.</summary>
    public string StrError(int providerErrno, void* errorData)
    {
        using FidLease self = new(this);
        byte* text = stackalloc byte[TextRoom];
        text[0] = text[TextRoom - 1] = 0;
        fi_ops_cq* ops = Pointer->ops;
        byte* said = ops != null && FiOps.Has(ops, &ops->strerror)
            ? ops->strerror(Pointer, providerErrno, errorData, text, TextRoom - 1)
            : null;
        return Marshal.PtrToStringUTF8((nint)said) ?? $"provider error {providerErrno}";
    }

    /// <summary>Gets the file descriptor to poll(2) for reading, of a queue opened with FI_WAIT_FD. The queue keeps owning it.</summary>
    public int GetWaitFd(out int fileDescriptor)
    {
        int value = -1;
        int status = ControlCore(FiCommand.FI_GETWAIT, &value);
        fileDescriptor = status == 0 ? value : -1;
        return status;
    }
}
