// ucp/api/ucp.h: the structures that are passed. Each has a mask of the fields that are valid, so that a structure of
// another version is read correctly.
namespace AllocTools.Ucx.Interop;

/// <summary>The purpose and the requirements of a context. ucp_init.</summary>
internal unsafe struct ucp_params
{
    public ulong field_mask;
    public ulong features;
    public nuint request_size;
    public void* request_init;
    public void* request_cleanup;
    public ulong tag_sender_mask;
    public int mt_workers_shared;
    public nuint estimated_num_eps;
    public nuint estimated_num_ppn;
}

/// <summary>The attributes of a context. ucp_context_query.</summary>
internal struct ucp_context_attr
{
    public ulong field_mask;
    public nuint request_size;
    public int thread_mode;
}

/// <summary>The requirements of a worker. ucp_worker_create.</summary>
internal struct ucp_worker_params
{
    public ulong field_mask;
    public int thread_mode;
}

/// <summary>The attributes of a worker. ucp_worker_query.</summary>
internal struct ucp_worker_attr
{
    public ulong field_mask;
    public int thread_mode;
}

/// <summary>The callback for an endpoint that has failed. ucp_ep_create.</summary>
internal unsafe struct ucp_err_handler
{
    public delegate* unmanaged[Cdecl]<void*, void*, sbyte, void> cb;
    public void* arg;
}

/// <summary>The requirements of an endpoint. ucp_ep_create.</summary>
internal unsafe struct ucp_ep_params
{
    public ulong field_mask;
    public void* address;
    public int err_mode;
    public ucp_err_handler err_handler;
}

/// <summary>Memory to map. ucp_mem_map.</summary>
internal unsafe struct ucp_mem_map_params
{
    public ulong field_mask;
    public void* address;
    public nuint length;
    public uint flags;
    public uint prot;
    public int memory_type;
}

/// <summary>The options of an operation, and how it reports its end. ucp_put_nbx and others.</summary>
internal unsafe struct ucp_request_param
{
    public uint op_attr_mask;
    public uint flags;
    public void* request;
    public void* cb;
    public ulong datatype;
    public void* user_data;
    public void* reply_buffer;
    public int memory_type;
    public void* recv_info;
    public void* memh;
}

/// <summary>The result of a receive. ucp_tag_recv_nbx.</summary>
internal struct ucp_tag_recv_info
{
    public ulong sender_tag;
    public nuint length;
}

/// <summary>The mask of the valid fields of <see cref="ucp_params"/>.</summary>
internal static class UcpParam
{
    public const ulong UCP_PARAM_FIELD_FEATURES = 1 << 0;
    public const ulong UCP_PARAM_FIELD_TAG_SENDER_MASK = 1 << 4;
    public const ulong UCP_PARAM_FIELD_MT_WORKERS_SHARED = 1 << 5;
}

/// <summary>The features of a context.</summary>
internal static class UcpFeature
{
    public const ulong UCP_FEATURE_TAG = 1 << 0;
    public const ulong UCP_FEATURE_RMA = 1 << 1;
    public const ulong UCP_FEATURE_WAKEUP = 1 << 4;
}

/// <summary>The masks of the valid fields of the smaller structures.</summary>
internal static class UcpField
{
    public const ulong UCP_ATTR_FIELD_REQUEST_SIZE = 1 << 0;
    public const ulong UCP_ATTR_FIELD_THREAD_MODE = 1 << 1;
    public const ulong UCP_WORKER_PARAM_FIELD_THREAD_MODE = 1 << 0;
    public const ulong UCP_WORKER_ATTR_FIELD_THREAD_MODE = 1 << 0;
    public const ulong UCP_EP_PARAM_FIELD_REMOTE_ADDRESS = 1 << 0;
    public const ulong UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE = 1 << 1;
    public const ulong UCP_EP_PARAM_FIELD_ERR_HANDLER = 1 << 2;
    public const ulong UCP_MEM_MAP_PARAM_FIELD_ADDRESS = 1 << 0;
    public const ulong UCP_MEM_MAP_PARAM_FIELD_LENGTH = 1 << 1;
    public const ulong UCP_MEM_MAP_PARAM_FIELD_PROT = 1 << 3;
    public const ulong UCP_MEM_MAP_PARAM_FIELD_MEMORY_TYPE = 1 << 4;
}

/// <summary>The permitted uses of registered memory.</summary>
internal static class UcpProt
{
    public const uint UCP_MEM_MAP_PROT_LOCAL_READ = 1 << 0;
    public const uint UCP_MEM_MAP_PROT_LOCAL_WRITE = 1 << 1;
    public const uint UCP_MEM_MAP_PROT_REMOTE_READ = 1 << 8;
    public const uint UCP_MEM_MAP_PROT_REMOTE_WRITE = 1 << 9;
}

/// <summary>The mask of the valid fields of <see cref="ucp_request_param"/>, and the flags of an operation.</summary>
internal static class UcpOp
{
    public const uint UCP_OP_ATTR_FIELD_REQUEST = 1 << 0;
    public const uint UCP_OP_ATTR_FIELD_CALLBACK = 1 << 1;
    public const uint UCP_OP_ATTR_FIELD_USER_DATA = 1 << 2;
    public const uint UCP_OP_ATTR_FIELD_FLAGS = 1 << 4;
    public const uint UCP_OP_ATTR_FIELD_MEMORY_TYPE = 1 << 6;
    public const uint UCP_OP_ATTR_FIELD_RECV_INFO = 1 << 7;
    public const uint UCP_OP_ATTR_FIELD_MEMH = 1 << 8;
    public const uint UCP_OP_ATTR_FLAG_NO_IMM_CMPL = 1 << 16;
    public const uint UCP_EP_CLOSE_FLAG_FORCE = 1 << 0;
}

/// <summary>Values of enumerations.</summary>
internal static class UcpMode
{
    public const int UCP_ERR_HANDLING_MODE_NONE = 0;
    public const int UCP_ERR_HANDLING_MODE_PEER = 1;
    public const int UCS_THREAD_MODE_SERIALIZED = 1;
    public const int UCS_THREAD_MODE_MULTI = 2;
    public const int UCS_MEMORY_TYPE_HOST = 0;
}

/// <summary>ucs/type/status.h. A status occupies one byte, because the enumeration is packed.</summary>
internal static class UcsStatus
{
    public const sbyte UCS_OK = 0;
    public const sbyte UCS_INPROGRESS = 1;
    public const sbyte UCS_ERR_NO_MESSAGE = -1;
    public const sbyte UCS_ERR_NO_RESOURCE = -2;
    public const sbyte UCS_ERR_IO_ERROR = -3;
    public const sbyte UCS_ERR_NO_MEMORY = -4;
    public const sbyte UCS_ERR_INVALID_PARAM = -5;
    public const sbyte UCS_ERR_UNREACHABLE = -6;
    public const sbyte UCS_ERR_INVALID_ADDR = -7;
    public const sbyte UCS_ERR_NOT_IMPLEMENTED = -8;
    public const sbyte UCS_ERR_MESSAGE_TRUNCATED = -9;
    public const sbyte UCS_ERR_NO_ELEM = -12;
    public const sbyte UCS_ERR_NO_DEVICE = -14;
    public const sbyte UCS_ERR_BUSY = -15;
    public const sbyte UCS_ERR_CANCELED = -16;
    public const sbyte UCS_ERR_TIMED_OUT = -20;
    public const sbyte UCS_ERR_EXCEEDS_LIMIT = -21;
    public const sbyte UCS_ERR_UNSUPPORTED = -22;
    public const sbyte UCS_ERR_REJECTED = -23;
    public const sbyte UCS_ERR_NOT_CONNECTED = -24;
    public const sbyte UCS_ERR_CONNECTION_RESET = -25;
    public const sbyte UCS_ERR_ENDPOINT_TIMEOUT = -80;
    public const sbyte UCS_ERR_LAST = -100;
}
