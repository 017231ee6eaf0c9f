namespace AllocTools.Libfabric.Interop;

/// <summary>A PCI address. fi_nic(3).</summary>
internal struct fi_pci_attr
{
    public ushort domain_id;
    public byte bus_id;
    public byte device_id;
    public byte function_id;
}
