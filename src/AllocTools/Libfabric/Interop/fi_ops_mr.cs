namespace AllocTools.Libfabric.Interop;

/// <summary>Calls that register memory. fi_mr(3).</summary>
internal unsafe struct fi_ops_mr
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid*, void*, nuint, ulong, ulong, ulong, ulong, fid_mr**, void*, int> reg;
    public void* regv;
    public delegate* unmanaged[Cdecl]<fid*, fi_mr_attr*, ulong, fid_mr**, int> regattr;
}
