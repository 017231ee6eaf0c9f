namespace AllocTools.Libfabric.Interop;

/// <summary>Calls that every object has. fabric(7).</summary>
internal unsafe struct fi_ops
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid*, int> close;
    public delegate* unmanaged[Cdecl]<fid*, fid*, ulong, int> bind;
    public delegate* unmanaged[Cdecl]<fid*, int, void*, int> control;
    public void* ops_open;
    public void* tostr;
    public void* ops_set;
}
