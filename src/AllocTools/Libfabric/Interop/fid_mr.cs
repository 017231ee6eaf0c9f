namespace AllocTools.Libfabric.Interop;

/// <summary>A memory registration. fi_mr(3).</summary>
internal unsafe struct fid_mr
{
    public fid fid;
    public void* mem_desc;
    public ulong key;
}
