namespace AllocTools.Libfabric.Interop;

/// <summary>Calls of an address vector. fi_av(3).</summary>
internal unsafe struct fi_ops_av
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_av*, void*, nuint, ulong*, ulong, void*, int> insert;
    public void* insertsvc;
    public void* insertsym;
    public delegate* unmanaged[Cdecl]<fid_av*, ulong*, nuint, ulong, int> remove;
    public void* lookup;
    public delegate* unmanaged[Cdecl]<fid_av*, void*, byte*, nuint*, byte*> straddr;
    public void* av_set;
}
