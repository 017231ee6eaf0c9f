namespace AllocTools.Libfabric.Interop;

/// <summary>Calls of a domain. fi_domain(3).</summary>
internal unsafe struct fi_ops_domain
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_av_attr*, fid_av**, void*, int> av_open;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_cq_attr*, fid_cq**, void*, int> cq_open;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_info*, fid_ep**, void*, int> endpoint;
    public void* scalable_ep;
    public void* cntr_open;
    public void* poll_open;
    public void* stx_ctx;
    public void* srx_ctx;
    public void* query_atomic;
    public void* query_collective;
    public void* endpoint2;
}
