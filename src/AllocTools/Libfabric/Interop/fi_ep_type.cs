namespace AllocTools.Libfabric.Interop;

/// <summary>Endpoint types. fi_endpoint(3).</summary>
internal enum fi_ep_type
{
    FI_EP_UNSPEC = 0,
    FI_EP_MSG = 1,
    FI_EP_DGRAM = 2,
    FI_EP_RDM = 3,
}
