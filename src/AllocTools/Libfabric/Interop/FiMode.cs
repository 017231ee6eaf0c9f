namespace AllocTools.Libfabric.Interop;

/// <summary>What a provider demands of the application; <see cref="fi_info.mode"/>. fi_getinfo(3).</summary>
internal static class FiMode
{
    public const ulong FI_CONTEXT = 1UL << 59;
    public const ulong FI_MSG_PREFIX = 1UL << 58;
    public const ulong FI_ASYNC_IOV = 1UL << 57;
    public const ulong FI_RX_CQ_DATA = 1UL << 56;
    public const ulong FI_CONTEXT2 = 1UL << 52;
}
