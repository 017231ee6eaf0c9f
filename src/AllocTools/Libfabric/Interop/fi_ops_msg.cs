namespace AllocTools.Libfabric.Interop;

/// <summary>Calls that send and receive messages. fi_msg(3).</summary>
internal unsafe struct fi_ops_msg
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, void*, nint> recv;
    public void* recvv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg*, ulong, nint> recvmsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, void*, nint> send;
    public void* sendv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg*, ulong, nint> sendmsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, ulong, nint> inject;
    public void* senddata;
    public void* injectdata;
}
