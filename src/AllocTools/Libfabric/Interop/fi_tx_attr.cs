namespace AllocTools.Libfabric.Interop;

/// <summary>Transmit attributes. fi_endpoint(3).</summary>
internal struct fi_tx_attr
{
    public ulong caps;
    public ulong mode;
    public ulong op_flags;
    public ulong msg_order;
    public ulong comp_order;
    public nuint inject_size;
    public nuint size;
    public nuint iov_limit;
    public nuint rma_iov_limit;
    public uint tclass;
}
