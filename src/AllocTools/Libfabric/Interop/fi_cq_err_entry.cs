namespace AllocTools.Libfabric.Interop;

/// <summary>A failed operation. Later versions append to it: <see cref="CqHandle.ReadErr"/> gives the library more room. fi_cq(3).</summary>
internal unsafe struct fi_cq_err_entry
{
    public void* op_context;
    public ulong flags;
    public nuint len;
    public void* buf;
    public ulong data;
    public ulong tag;
    public nuint olen;
    public int err;
    public int prov_errno;
    public void* err_data;
    public nuint err_data_size;
}
