namespace AllocTools.Libfabric.Interop;

/// <summary>Capabilities; as flags of a completion the same bits say what it was. fi_getinfo(3).</summary>
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
