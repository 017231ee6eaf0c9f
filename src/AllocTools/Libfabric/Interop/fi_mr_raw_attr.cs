namespace AllocTools.Libfabric.Interop;

/// <summary>Arguments of <see cref="FiCommand.FI_GET_RAW_MR"/>. fi_mr(3).</summary>
internal unsafe struct fi_mr_raw_attr
{
    public ulong flags;
    public ulong* base_addr;
    public byte* raw_key;
    public nuint* key_size;
}
