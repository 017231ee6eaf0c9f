namespace AllocTools.Libfabric.Interop;

/// <summary>What a completion holds. fi_cq(3).</summary>
internal enum fi_cq_format
{
    FI_CQ_FORMAT_UNSPEC = 0,
    FI_CQ_FORMAT_CONTEXT = 1,
    FI_CQ_FORMAT_MSG = 2,
    FI_CQ_FORMAT_DATA = 3,
    FI_CQ_FORMAT_TAGGED = 4,
}
