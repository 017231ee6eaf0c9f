namespace AllocTools.Libfabric.Interop;

/// <summary>The bus of a network card. fi_nic(3).</summary>
internal struct fi_bus_attr
{
    public fi_bus_type bus_type;
    /// <summary>A union in C; PCI is its only member.</summary>
    public fi_pci_attr attr;
}
