namespace AllocTools.Libfabric.Interop;

/// <summary>Receive attributes. fi_endpoint(3).</summary>
internal struct fi_rx_attr
{
    public ulong caps;
    public ulong mode;
    public ulong op_flags;
    public ulong msg_order;
    public ulong comp_order;
    public nuint total_buffered_recv;
    public nuint size;
    public nuint iov_limit;
}
