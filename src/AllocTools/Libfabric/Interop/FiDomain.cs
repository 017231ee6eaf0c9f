// rdma/fi_domain.h: domains, registrations, address vectors.
namespace AllocTools.Libfabric.Interop;

/// <summary>A domain. fi_domain(3).</summary>
internal unsafe struct fid_domain
{
    public fid fid;
    public fi_ops_domain* ops;
    public fi_ops_mr* mr;
}

/// <summary>Calls of a domain. fi_domain(3).</summary>
internal unsafe struct fi_ops_domain
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_av_attr*, fid_av**, void*, int> av_open;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_cq_attr*, fid_cq**, void*, int> cq_open;
    public delegate* unmanaged[Cdecl]<fid_domain*, fi_info*, fid_ep**, void*, int> endpoint;
    public void* scalable_ep;
    public void* cntr_open;
    public void* poll_open;
    public void* stx_ctx;
    public void* srx_ctx;
    public void* query_atomic;
    public void* query_collective;
    public void* endpoint2;
}

/// <summary>Calls that register memory. fi_mr(3).</summary>
internal unsafe struct fi_ops_mr
{
    public nuint size;
    public void* reg;
    public void* regv;
    public delegate* unmanaged[Cdecl]<fid*, fi_mr_attr*, ulong, fid_mr**, int> regattr;
}

/// <summary>A memory registration. fi_mr(3).</summary>
internal unsafe struct fid_mr
{
    public fid fid;
    public void* mem_desc;
    public ulong key;
}

/// <summary>The memory to register. Later versions append fields, so <see cref="DomainHandle"/> passes a padded copy. fi_mr(3).</summary>
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

/// <summary>Kinds of memory. fi_mr(3).</summary>
internal enum fi_hmem_iface
{
    FI_HMEM_SYSTEM = 0,
    FI_HMEM_CUDA = 1,
    FI_HMEM_ROCR = 2,
    FI_HMEM_ZE = 3,
    FI_HMEM_NEURON = 4,
    FI_HMEM_SYNAPSEAI = 5,
}

/// <summary>An address vector. fi_av(3).</summary>
internal unsafe struct fid_av
{
    public fid fid;
    public fi_ops_av* ops;
}

/// <summary>Calls of an address vector. fi_av(3).</summary>
internal unsafe struct fi_ops_av
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_av*, void*, nuint, ulong*, ulong, void*, int> insert;
    public void* insertsvc;
    public void* insertsym;
    public delegate* unmanaged[Cdecl]<fid_av*, ulong*, nuint, ulong, int> remove;
    public void* lookup;
    public void* straddr;
    public void* av_set;
}

/// <summary>Address vector attributes. fi_av(3).</summary>
internal unsafe struct fi_av_attr
{
    public fi_av_type type;
    public int rx_ctx_bits;
    public nuint count;
    public nuint ep_per_node;
    public byte* name;
    public void* map_addr;
    public ulong flags;
}
