namespace AllocTools.Libfabric.Interop;

/// <summary>Calls of a fabric. fi_fabric(3).</summary>
internal unsafe struct fi_ops_fabric
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_fabric*, fi_info*, fid_domain**, void*, int> domain;
    public void* passive_ep;
    public void* eq_open;
    public void* wait_open;
    public delegate* unmanaged[Cdecl]<fid_fabric*, fid**, int, int> trywait;
    public void* domain2;
}
