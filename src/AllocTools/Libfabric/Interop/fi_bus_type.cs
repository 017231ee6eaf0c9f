namespace AllocTools.Libfabric.Interop;

/// <summary>Buses of a network card. fi_nic(3).</summary>
internal enum fi_bus_type
{
    FI_BUS_UNSPEC = 0,
    FI_BUS_PCI = 1,
}
