// rdma/fi_rma.h: reads and writes of a peer's memory.
namespace AllocTools.Libfabric.Interop;

/// <summary>Calls that read and write a peer's memory. fi_rma(3).</summary>
internal unsafe struct fi_ops_rma
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, void*, nint> read;
    public void* readv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg_rma*, ulong, nint> readmsg;
    public void* write;
    public void* writev;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg_rma*, ulong, nint> writemsg;
    public void* inject;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, ulong, void*, nint> writedata;
    public void* injectdata;
}

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

/// <summary>A range of a peer's memory. fi_rma(3).</summary>
internal struct fi_rma_iov
{
    public ulong addr;
    public nuint len;
    public ulong key;
}
