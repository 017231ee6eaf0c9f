namespace AllocTools.Libfabric.Interop;

/// <summary>Calls that read and write a peer's memory. fi_rma(3).</summary>
internal unsafe struct fi_ops_rma
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, void*, nint> read;
    public void* readv;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg_rma*, ulong, nint> readmsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, void*, nint> write;
    public void* writev;
    public delegate* unmanaged[Cdecl]<fid_ep*, fi_msg_rma*, ulong, nint> writemsg;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, ulong, ulong, ulong, nint> inject;
    public delegate* unmanaged[Cdecl]<fid_ep*, void*, nuint, void*, ulong, ulong, ulong, ulong, void*, nint> writedata;
    public void* injectdata;
}
