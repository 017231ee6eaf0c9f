namespace AllocTools.Libfabric.Interop;

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
