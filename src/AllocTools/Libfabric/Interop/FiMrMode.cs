namespace AllocTools.Libfabric.Interop;

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
