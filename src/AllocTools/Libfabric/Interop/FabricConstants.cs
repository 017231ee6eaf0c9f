// rdma/fabric.h: its constants.
namespace AllocTools.Libfabric.Interop;

/// <summary>libfabric's packed form of a version: major in the high 16 bits, minor in the low 16 bits. fi_version(3).</summary>
internal static class FiVersion
{
    /// <summary>The API version that this binding is written for. Newer libraries then don't touch the fields that they have appended.</summary>
    public const uint Api = (1 << 16) | 14;

    public static Version Unpack(uint version) => new((int)(version >> 16), (int)(version & 0xFFFF));
}

/// <summary>Capabilities. As flags of a completion, the same bits state its kind. fi_getinfo(3).</summary>
internal static class FiCaps
{
    public const ulong FI_MSG = 1UL << 1;
    public const ulong FI_RMA = 1UL << 2;
    public const ulong FI_TAGGED = 1UL << 3;
    public const ulong FI_ATOMIC = 1UL << 4;
    public const ulong FI_MULTICAST = 1UL << 5;
    public const ulong FI_COLLECTIVE = 1UL << 6;
    public const ulong FI_READ = 1UL << 8;
    public const ulong FI_WRITE = 1UL << 9;
    public const ulong FI_RECV = 1UL << 10;
    public const ulong FI_SEND = 1UL << 11;
    public const ulong FI_REMOTE_READ = 1UL << 12;
    public const ulong FI_REMOTE_WRITE = 1UL << 13;
    public const ulong FI_MULTI_RECV = 1UL << 16;
    public const ulong FI_TRIGGER = 1UL << 20;
    public const ulong FI_FENCE = 1UL << 21;
    public const ulong FI_HMEM = 1UL << 47;
    public const ulong FI_RMA_PMEM = 1UL << 49;
    public const ulong FI_SOURCE_ERR = 1UL << 50;
    public const ulong FI_LOCAL_COMM = 1UL << 51;
    public const ulong FI_REMOTE_COMM = 1UL << 52;
    public const ulong FI_SHARED_AV = 1UL << 53;
    public const ulong FI_RMA_EVENT = 1UL << 56;
    public const ulong FI_SOURCE = 1UL << 57;
    public const ulong FI_NAMED_RX_CTX = 1UL << 58;
    public const ulong FI_DIRECTED_RECV = 1UL << 59;
}

/// <summary>Flags of operations, completions, bindings and fi_getinfo. fi_msg(3), fi_rma(3), fi_cq(3), fi_endpoint(3), fi_getinfo(3).</summary>
internal static class FiFlags
{
    public const ulong FI_REMOTE_CQ_DATA = 1UL << 17;
    public const ulong FI_MORE = 1UL << 18;
    public const ulong FI_PEEK = 1UL << 19;
    public const ulong FI_FENCE = 1UL << 21;
    public const ulong FI_COMPLETION = 1UL << 24;
    public const ulong FI_INJECT = 1UL << 25;
    public const ulong FI_INJECT_COMPLETE = 1UL << 26;
    public const ulong FI_TRANSMIT_COMPLETE = 1UL << 27;
    public const ulong FI_DELIVERY_COMPLETE = 1UL << 28;
    public const ulong FI_AFFINITY = 1UL << 29;
    public const ulong FI_COMMIT_COMPLETE = 1UL << 30;
    public const ulong FI_MATCH_COMPLETE = 1UL << 31;
    public const ulong FI_PROV_ATTR_ONLY = 1UL << 54;
    public const ulong FI_NUMERICHOST = 1UL << 55;
    public const ulong FI_SELECTIVE_COMPLETION = 1UL << 59;
}

/// <summary>Demands of a provider on the application; <see cref="fi_info.mode"/>. fi_getinfo(3).</summary>
internal static class FiMode
{
    public const ulong FI_CONTEXT = 1UL << 59;
    public const ulong FI_MSG_PREFIX = 1UL << 58;
    public const ulong FI_ASYNC_IOV = 1UL << 57;
    public const ulong FI_RX_CQ_DATA = 1UL << 56;
    public const ulong FI_CONTEXT2 = 1UL << 52;
}

/// <summary>Registration mode bits of <see cref="fi_domain_attr.mr_mode"/>. fi_mr(3).</summary>
internal static class FiMrMode
{
    public const int FI_MR_LOCAL = 1 << 2;
    public const int FI_MR_RAW = 1 << 3;
    public const int FI_MR_VIRT_ADDR = 1 << 4;
    public const int FI_MR_ALLOCATED = 1 << 5;
    public const int FI_MR_PROV_KEY = 1 << 6;
    public const int FI_MR_MMU_NOTIFY = 1 << 7;
    public const int FI_MR_RMA_EVENT = 1 << 8;
    public const int FI_MR_ENDPOINT = 1 << 9;
    public const int FI_MR_HMEM = 1 << 10;
    public const int FI_MR_COLLECTIVE = 1 << 11;
}

/// <summary>Orders that a provider keeps; <c>msg_order</c> of <see cref="fi_tx_attr"/> and <see cref="fi_rx_attr"/>. fi_endpoint(3).</summary>
internal static class FiOrder
{
    public const ulong FI_ORDER_NONE = 0;
    public const ulong FI_ORDER_RAR = 1UL << 0;
    public const ulong FI_ORDER_RAW = 1UL << 1;
    public const ulong FI_ORDER_RAS = 1UL << 2;
    public const ulong FI_ORDER_WAR = 1UL << 3;
    public const ulong FI_ORDER_WAW = 1UL << 4;
    public const ulong FI_ORDER_WAS = 1UL << 5;
    public const ulong FI_ORDER_SAR = 1UL << 6;
    public const ulong FI_ORDER_SAW = 1UL << 7;
    public const ulong FI_ORDER_SAS = 1UL << 8;
    public const ulong FI_ORDER_RMA_RAR = 1UL << 32;
    public const ulong FI_ORDER_RMA_RAW = 1UL << 33;
    public const ulong FI_ORDER_RMA_WAR = 1UL << 34;
    public const ulong FI_ORDER_RMA_WAW = 1UL << 35;
}

/// <summary>Commands of fi_control. fi_control(3), fi_mr(3), fi_cq(3).</summary>
internal static class FiCommand
{
    public const int FI_GETWAIT = 5;
    public const int FI_ENABLE = 6;
    public const int FI_GET_RAW_MR = 8;
    public const int FI_MAP_RAW_MR = 9;
    public const int FI_UNMAP_KEY = 10;
    public const int FI_GETWAITOBJ = 16;
}

/// <summary>Values that stand for "none". fi_av(3), fi_mr(3).</summary>
internal static class FiConstants
{
    public const ulong FI_ADDR_UNSPEC = ulong.MaxValue;
    public const ulong FI_ADDR_NOTAVAIL = ulong.MaxValue;
    public const ulong FI_KEY_NOTAVAIL = ulong.MaxValue;
}
