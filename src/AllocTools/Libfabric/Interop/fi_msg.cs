namespace AllocTools.Libfabric.Interop;

/// <summary>A message and where it goes. fi_msg(3).</summary>
internal unsafe struct fi_msg
{
    public iovec* msg_iov;
    public void** desc;
    public nuint iov_count;
    public ulong addr;
    public void* context;
    public ulong data;
}
