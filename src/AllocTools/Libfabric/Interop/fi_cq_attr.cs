namespace AllocTools.Libfabric.Interop;

/// <summary>Completion queue attributes. fi_cq(3).</summary>
internal unsafe struct fi_cq_attr
{
    public nuint size;
    public ulong flags;
    public fi_cq_format format;
    public fi_wait_obj wait_obj;
    public int signaling_vector;
    public fi_cq_wait_cond wait_cond;
    public void* wait_set;
}
