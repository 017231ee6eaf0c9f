namespace AllocTools.Libfabric.Interop;

/// <summary>The head of every libfabric object: class, user context, and the table of its general calls. fi_close(3), fabric(7).</summary>
internal unsafe struct fid
{
    public nuint fclass;
    public void* context;
    public fi_ops* ops;
}
