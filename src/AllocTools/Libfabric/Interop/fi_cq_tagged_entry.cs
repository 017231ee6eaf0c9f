namespace AllocTools.Libfabric.Interop;

/// <summary>A completion, <see cref="fi_cq_format.FI_CQ_FORMAT_TAGGED"/>. fi_cq(3).</summary>
internal unsafe struct fi_cq_tagged_entry
{
    public void* op_context;
    public ulong flags;
    public nuint len;
    public void* buf;
    public ulong data;
    public ulong tag;
}
