using System.Runtime.CompilerServices;

// rdma/fabric.h: objects, fi_getinfo and its attributes; and iovec of sys/uio.h, which libfabric passes.
namespace AllocTools.Libfabric.Interop;

/// <summary>A local address range. readv(2).</summary>
internal unsafe struct iovec
{
    public void* iov_base;
    public nuint iov_len;
}

/// <summary>The head of every libfabric object: its class, user context, and table of general calls. fi_close(3), fabric(7).</summary>
internal unsafe struct fid
{
    public nuint fclass;
    public void* context;
    public fi_ops* ops;
}

/// <summary>Calls that every object has. fabric(7).</summary>
internal unsafe struct fi_ops
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid*, int> close;
    public delegate* unmanaged[Cdecl]<fid*, fid*, ulong, int> bind;
    public delegate* unmanaged[Cdecl]<fid*, int, void*, int> control;
    public void* ops_open;
    public void* tostr;
    public void* ops_set;
}

/// <summary>A fabric. fi_fabric(3).</summary>
internal unsafe struct fid_fabric
{
    public fid fid;
    public fi_ops_fabric* ops;
    public uint api_version;
}

/// <summary>Calls of a fabric. fi_fabric(3).</summary>
internal unsafe struct fi_ops_fabric
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_fabric*, fi_info*, fid_domain**, void*, int> domain;
    public void* passive_ep;
    public void* eq_open;
    public void* wait_open;
    public delegate* unmanaged[Cdecl]<fid_fabric*, fid**, int, int> trywait;
    public void* domain2;
}

/// <summary>
/// One communication interface, as requested and as offered. It always comes from fi_dupinfo and is never built by
/// hand, because later versions append fields. fi_getinfo(3).
/// </summary>
internal unsafe struct fi_info
{
    public fi_info* next;
    public ulong caps;
    public ulong mode;
    public fi_addr_format addr_format;
    public nuint src_addrlen;
    public nuint dest_addrlen;
    public void* src_addr;
    public void* dest_addr;
    public fid* handle;
    public fi_tx_attr* tx_attr;
    public fi_rx_attr* rx_attr;
    public fi_ep_attr* ep_attr;
    public fi_domain_attr* domain_attr;
    public fi_fabric_attr* fabric_attr;
    public fid_nic* nic;
}

/// <summary>Fabric attributes. fi_fabric(3).</summary>
internal unsafe struct fi_fabric_attr
{
    public fid_fabric* fabric;
    public byte* name;
    public byte* prov_name;
    public uint prov_version;
    public uint api_version;
}

/// <summary>Domain attributes; later versions append to it. fi_domain(3).</summary>
internal unsafe struct fi_domain_attr
{
    public fid_domain* domain;
    public byte* name;
    public fi_threading threading;
    public fi_progress control_progress;
    public fi_progress data_progress;
    public fi_resource_mgmt resource_mgmt;
    public fi_av_type av_type;
    public int mr_mode;
    public nuint mr_key_size;
    public nuint cq_data_size;
    public nuint cq_cnt;
    public nuint ep_cnt;
    public nuint tx_ctx_cnt;
    public nuint rx_ctx_cnt;
    public nuint max_ep_tx_ctx;
    public nuint max_ep_rx_ctx;
    public nuint max_ep_stx_ctx;
    public nuint max_ep_srx_ctx;
    public nuint cntr_cnt;
    public nuint mr_iov_limit;
    public ulong caps;
    public ulong mode;
    public byte* auth_key;
    public nuint auth_key_size;
    public nuint max_err_data;
    public nuint mr_cnt;
    public uint tclass;
}

/// <summary>Endpoint attributes. fi_endpoint(3).</summary>
internal unsafe struct fi_ep_attr
{
    public fi_ep_type type;
    public uint protocol;
    public uint protocol_version;
    public nuint max_msg_size;
    public nuint msg_prefix_size;
    public nuint max_order_raw_size;
    public nuint max_order_war_size;
    public nuint max_order_waw_size;
    public ulong mem_tag_format;
    public nuint tx_ctx_cnt;
    public nuint rx_ctx_cnt;
    public nuint auth_key_size;
    public byte* auth_key;
}

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

/// <summary>Address formats; an unnamed enum in C. fi_getinfo(3).</summary>
internal enum fi_addr_format : uint
{
    FI_FORMAT_UNSPEC = 0,
    FI_SOCKADDR = 1,
    FI_SOCKADDR_IN = 2,
    FI_SOCKADDR_IN6 = 3,
    FI_SOCKADDR_IB = 4,
    FI_ADDR_STR = 9,
    FI_ADDR_IB_UD = 11,
    FI_ADDR_EFA = 12,
    FI_ADDR_PSMX3 = 13,
    FI_ADDR_OPX = 14,
    FI_ADDR_CXI = 15,
}

/// <summary>Endpoint types. fi_endpoint(3).</summary>
internal enum fi_ep_type
{
    FI_EP_UNSPEC = 0,
    FI_EP_MSG = 1,
    FI_EP_DGRAM = 2,
    FI_EP_RDM = 3,
}

/// <summary>Address vector types. fi_av(3).</summary>
internal enum fi_av_type
{
    FI_AV_UNSPEC = 0,
    FI_AV_MAP = 1,
    FI_AV_TABLE = 2,
}

/// <summary>Which calls the application must serialize. fi_domain(3).</summary>
internal enum fi_threading
{
    FI_THREAD_UNSPEC = 0,
    FI_THREAD_SAFE = 1,
    FI_THREAD_FID = 2,
    FI_THREAD_DOMAIN = 3,
    FI_THREAD_COMPLETION = 4,
    FI_THREAD_ENDPOINT = 5,
}

/// <summary>Modes of progress, which say who makes it. fi_domain(3).</summary>
internal enum fi_progress
{
    FI_PROGRESS_UNSPEC = 0,
    FI_PROGRESS_AUTO = 1,
    FI_PROGRESS_MANUAL = 2,
}

/// <summary>Whether the provider guards its queues against overrun. fi_domain(3).</summary>
internal enum fi_resource_mgmt
{
    FI_RM_UNSPEC = 0,
    FI_RM_DISABLED = 1,
    FI_RM_ENABLED = 2,
}

/// <summary>Attributes of the network card behind a <see cref="fi_info"/>. fi_nic(3).</summary>
internal unsafe struct fid_nic
{
    public fid fid;
    public fi_device_attr* device_attr;
    public fi_bus_attr* bus_attr;
    public fi_link_attr* link_attr;
    public void* prov_attr;
}

/// <summary>Names of a network card. fi_nic(3).</summary>
internal unsafe struct fi_device_attr
{
    public byte* name;
    public byte* device_id;
    public byte* device_version;
    public byte* vendor_id;
    public byte* driver;
    public byte* firmware;
}

/// <summary>The bus of a network card. fi_nic(3).</summary>
internal struct fi_bus_attr
{
    public fi_bus_type bus_type;
    /// <summary>A union in C; PCI is its only member.</summary>
    public fi_pci_attr attr;
}

/// <summary>Buses of a network card. fi_nic(3).</summary>
internal enum fi_bus_type
{
    FI_BUS_UNSPEC = 0,
    FI_BUS_PCI = 1,
}

/// <summary>A PCI address. fi_nic(3).</summary>
internal struct fi_pci_attr
{
    public ushort domain_id;
    public byte bus_id;
    public byte device_id;
    public byte function_id;
}

/// <summary>The link of a network card; <c>speed</c> in bits per second, <c>mtu</c> in bytes. fi_nic(3).</summary>
internal unsafe struct fi_link_attr
{
    public byte* address;
    public nuint mtu;
    public nuint speed;
    public fi_link_state state;
    public byte* network_type;
}

/// <summary>States of a link. fi_nic(3).</summary>
internal enum fi_link_state
{
    FI_LINK_UNKNOWN = 0,
    FI_LINK_DOWN = 1,
    FI_LINK_UP = 2,
}

/// <summary>Arguments of <see cref="FiCommand.FI_GET_RAW_MR"/>. fi_mr(3).</summary>
internal unsafe struct fi_mr_raw_attr
{
    public ulong flags;
    public ulong* base_addr;
    public byte* raw_key;
    public nuint* key_size;
}

/// <summary>Arguments of <see cref="FiCommand.FI_MAP_RAW_MR"/>. fi_mr(3).</summary>
internal unsafe struct fi_mr_map_raw
{
    public ulong flags;
    public ulong base_addr;
    public byte* raw_key;
    public nuint key_size;
    public ulong* key;
}

/// <summary>The memory that a provider needs per operation if it requests <see cref="FiMode.FI_CONTEXT2"/>. fi_getinfo(3).</summary>
[InlineArray(8)]
internal struct fi_context2
{
    public nint @internal;
}
