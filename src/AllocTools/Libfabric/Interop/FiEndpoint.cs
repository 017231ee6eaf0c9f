// rdma/fi_endpoint.h: endpoints and messages.
namespace AllocTools.Libfabric.Interop;

/// <summary>An endpoint. fi_endpoint(3).</summary>
internal unsafe struct fid_ep
{
    public fid fid;
    public fi_ops_ep* ops;
    public fi_ops_cm* cm;
    public fi_ops_msg* msg;
    public fi_ops_rma* rma;
    public fi_ops_tagged* tagged;
    public void* atomic;
    public void* collective;
}

/// <summary>Calls of an endpoint. fi_endpoint(3).</summary>
internal unsafe struct fi_ops_ep
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid*, void*, nint> cancel;
    public void* getopt;
    public void* setopt;
    public void* tx_ctx;
    public void* rx_ctx;
    public void* rx_size_left;
    public void* tx_size_left;
}

/// <summary>Calls that send and receive messages. fi_msg(3).</summary>
internal unsafe struct fi_ops_msg
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, void*, nint> recv;
    public void* recvv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg*, ulong, nint> recvmsg;
    public void* send;
    public void* sendv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg*, ulong, nint> sendmsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, ulong, nint> inject;
    public void* senddata;
    public void* injectdata;
}

/// <summary>A message and its destination. fi_msg(3).</summary>
internal unsafe struct fi_msg
{
    public iovec* msg_iov;
    public void** desc;
    public nuint iov_count;
    public ulong addr;
    public void* context;
    public ulong data;
}
