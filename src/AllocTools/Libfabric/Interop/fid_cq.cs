namespace AllocTools.Libfabric.Interop;

/// <summary>A completion queue. fi_cq(3).</summary>
internal unsafe struct fid_cq
{
    public fid fid;
    public fi_ops_cq* ops;
}
