namespace AllocTools.Libfabric.Interop;

/// <summary>What to register. Later versions append to it: <see cref="DomainHandle"/> passes a padded copy. fi_mr(3).</summary>
internal unsafe struct fi_mr_attr
{
    public iovec* mr_iov;
    public nuint iov_count;
    public ulong access;
    public ulong offset;
    public ulong requested_key;
    public void* context;
    public nuint auth_key_size;
    public byte* auth_key;
    public fi_hmem_iface iface;
    /// <summary>A union in C; its members are for memory of devices.</summary>
    public ulong device;
}
