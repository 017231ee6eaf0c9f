namespace AllocTools.Libfabric.Interop;

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
