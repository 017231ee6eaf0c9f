namespace AllocTools.Libfabric.Interop;

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
