namespace AllocTools.Libfabric.Interop;

/// <summary>A local address range. readv(2).</summary>
internal unsafe struct iovec
{
    public void* iov_base;
    public nuint iov_len;
}
