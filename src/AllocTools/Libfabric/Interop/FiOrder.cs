namespace AllocTools.Libfabric.Interop;

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
