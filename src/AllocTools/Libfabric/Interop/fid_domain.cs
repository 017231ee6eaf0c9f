namespace AllocTools.Libfabric.Interop;

/// <summary>A domain. fi_domain(3).</summary>
internal unsafe struct fid_domain
{
    public fid fid;
    public fi_ops_domain* ops;
    public fi_ops_mr* mr;
}
