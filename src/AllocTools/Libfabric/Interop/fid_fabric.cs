namespace AllocTools.Libfabric.Interop;

/// <summary>A fabric. fi_fabric(3).</summary>
internal unsafe struct fid_fabric
{
    public fid fid;
    public fi_ops_fabric* ops;
    public uint api_version;
}
