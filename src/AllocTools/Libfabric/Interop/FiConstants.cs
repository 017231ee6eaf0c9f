namespace AllocTools.Libfabric.Interop;

/// <summary>Values that stand for "none". fi_av(3), fi_mr(3).</summary>
internal static class FiConstants
{
    public const ulong FI_ADDR_UNSPEC = ulong.MaxValue;
    public const ulong FI_ADDR_NOTAVAIL = ulong.MaxValue;
    public const ulong FI_KEY_NOTAVAIL = ulong.MaxValue;
}
