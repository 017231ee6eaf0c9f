namespace AllocTools.Libfabric.Interop;

/// <summary>A local and a remote range. fi_rma(3).</summary>
internal unsafe struct fi_msg_rma
{
    public iovec* msg_iov;
    public void** desc;
    public nuint iov_count;
    public ulong addr;
    public fi_rma_iov* rma_iov;
    public nuint rma_iov_count;
    public void* context;
    public ulong data;
}
