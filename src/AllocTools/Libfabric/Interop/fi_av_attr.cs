namespace AllocTools.Libfabric.Interop;

/// <summary>Address vector attributes. fi_av(3).</summary>
internal unsafe struct fi_av_attr
{
    public fi_av_type type;
    public int rx_ctx_bits;
    public nuint count;
    public nuint ep_per_node;
    public byte* name;
    public void* map_addr;
    public ulong flags;
}
