namespace AllocTools.Libfabric.Interop;

/// <summary>Address vector types. fi_av(3).</summary>
internal enum fi_av_type
{
    FI_AV_UNSPEC = 0,
    FI_AV_MAP = 1,
    FI_AV_TABLE = 2,
}
