namespace AllocTools.Libfabric.Interop;

/// <summary>Names of a network card. fi_nic(3).</summary>
internal unsafe struct fi_device_attr
{
    public byte* name;
    public byte* device_id;
    public byte* device_version;
    public byte* vendor_id;
    public byte* driver;
    public byte* firmware;
}
