namespace AllocTools.Libfabric.Interop;

/// <summary>An address vector. fi_av(3).</summary>
internal unsafe struct fid_av
{
    public fid fid;
    public fi_ops_av* ops;
}
