namespace AllocTools.Libfabric.Interop;

/// <summary>What fi_cq_sread waits for. fi_cq(3).</summary>
internal enum fi_cq_wait_cond
{
    FI_CQ_COND_NONE = 0,
    FI_CQ_COND_THRESHOLD = 1,
}
