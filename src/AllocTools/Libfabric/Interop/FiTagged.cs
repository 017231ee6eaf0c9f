namespace AllocTools.Libfabric.Interop;

// rdma/fi_tagged.h

/// <summary>An endpoint's calls for messages that have a tag. fi_tagged(3).</summary>
internal unsafe struct fi_ops_tagged
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, void*, nint> recv;
    public void* recvv;
    public void* recvmsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, void*, nint> send;
    public void* sendv;
    public void* sendmsg;
    public void* inject;
    public void* senddata;
    public void* injectdata;
}
