namespace AllocTools.Libfabric.Interop;

/// <summary>Whether the provider guards its queues against overrun. fi_domain(3).</summary>
internal enum fi_resource_mgmt
{
    FI_RM_UNSPEC = 0,
    FI_RM_DISABLED = 1,
    FI_RM_ENABLED = 2,
}
