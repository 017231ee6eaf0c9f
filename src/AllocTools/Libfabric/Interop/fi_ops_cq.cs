namespace AllocTools.Libfabric.Interop;

/// <summary>Calls of a completion queue. fi_cq(3).</summary>
internal unsafe struct fi_ops_cq
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, nint> read;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, ulong*, nint> readfrom;
    public delegate* unmanaged[Cdecl]<fid_cq*, fi_cq_err_entry*, ulong, nint> readerr;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, void*, int, nint> sread;
    public void* sreadfrom;
    public delegate* unmanaged[Cdecl]<fid_cq*, int> signal;
    public delegate* unmanaged[Cdecl]<fid_cq*, int, void*, byte*, nuint, byte*> strerror;
}
