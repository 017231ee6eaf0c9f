namespace AllocTools.Libfabric.Interop;

/// <summary>A range of a peer's memory. fi_rma(3).</summary>
internal struct fi_rma_iov
{
    public ulong addr;
    public nuint len;
    public ulong key;
}
