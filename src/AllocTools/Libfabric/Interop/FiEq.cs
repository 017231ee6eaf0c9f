// rdma/fi_eq.h: completion queues.
namespace AllocTools.Libfabric.Interop;

/// <summary>A completion queue. fi_cq(3).</summary>
internal unsafe struct fid_cq
{
    public fid fid;
    public fi_ops_cq* ops;
}

/// <summary>Calls of a completion queue. fi_cq(3).</summary>
internal unsafe struct fi_ops_cq
{
    public nuint size;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, nint> read;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, ulong*, nint> readfrom;
    public delegate* unmanaged[Cdecl]<fid_cq*, fi_cq_err_entry*, ulong, nint> readerr;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, void*, int, nint> sread;
    public delegate* unmanaged[Cdecl]<fid_cq*, void*, nuint, ulong*, void*, int, nint> sreadfrom;
    public void* signal;
    public delegate* unmanaged[Cdecl]<fid_cq*, int, void*, byte*, nuint, byte*> strerror;
}

/// <summary>Completion queue attributes. fi_cq(3).</summary>
internal unsafe struct fi_cq_attr
{
    public nuint size;
    public ulong flags;
    public fi_cq_format format;
    public fi_wait_obj wait_obj;
    public int signaling_vector;
    public fi_cq_wait_cond wait_cond;
    public void* wait_set;
}

/// <summary>Formats of a completion. fi_cq(3).</summary>
internal enum fi_cq_format
{
    FI_CQ_FORMAT_UNSPEC = 0,
    FI_CQ_FORMAT_CONTEXT = 1,
    FI_CQ_FORMAT_MSG = 2,
    FI_CQ_FORMAT_DATA = 3,
    FI_CQ_FORMAT_TAGGED = 4,
}

/// <summary>Wait objects. fi_cq(3), fi_poll(3).</summary>
internal enum fi_wait_obj
{
    FI_WAIT_NONE = 0,
    FI_WAIT_UNSPEC = 1,
    FI_WAIT_SET = 2,
    FI_WAIT_FD = 3,
    FI_WAIT_MUTEX_COND = 4,
    FI_WAIT_YIELD = 5,
    FI_WAIT_POLLFD = 6,
}

/// <summary>Conditions that fi_cq_sread waits for. fi_cq(3).</summary>
internal enum fi_cq_wait_cond
{
    FI_CQ_COND_NONE = 0,
    FI_CQ_COND_THRESHOLD = 1,
}

/// <summary>A completion, <see cref="fi_cq_format.FI_CQ_FORMAT_TAGGED"/>. fi_cq(3).</summary>
internal unsafe struct fi_cq_tagged_entry
{
    public void* op_context;
    public ulong flags;
    public nuint len;
    public void* buf;
    public ulong data;
    public ulong tag;
}

/// <summary>A failed operation. Later versions append fields, so <see cref="CqHandle.ReadErr"/> gives the library more room. fi_cq(3).</summary>
internal unsafe struct fi_cq_err_entry
{
    public void* op_context;
    public ulong flags;
    public nuint len;
    public void* buf;
    public ulong data;
    public ulong tag;
    public nuint olen;
    public int err;
    public int prov_errno;
    public void* err_data;
    public nuint err_data_size;
}
