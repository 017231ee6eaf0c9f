// rdma/fi_cm.h: addresses.
namespace AllocTools.Libfabric.Interop;

/// <summary>Calls for addresses and connections. fi_cm(3).</summary>
internal unsafe struct fi_ops_cm
{
    public nuint size;
    public void* setname;
    public delegate* unmanaged[Cdecl]<fid*, void*, nuint*, int> getname;
    public void* getpeer;
    public void* connect;
    public void* listen;
    public void* accept;
    public void* reject;
    public void* shutdown;
    public void* join;
}
