namespace AllocTools.Libfabric.Interop;

/// <summary>States of a link. fi_nic(3).</summary>
internal enum fi_link_state
{
    FI_LINK_UNKNOWN = 0,
    FI_LINK_DOWN = 1,
    FI_LINK_UP = 2,
}
