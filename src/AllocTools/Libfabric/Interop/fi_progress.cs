namespace AllocTools.Libfabric.Interop;

/// <summary>Who makes progress. fi_domain(3).</summary>
internal enum fi_progress
{
    FI_PROGRESS_UNSPEC = 0,
    FI_PROGRESS_AUTO = 1,
    FI_PROGRESS_MANUAL = 2,
}
