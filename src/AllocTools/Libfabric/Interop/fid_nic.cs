namespace AllocTools.Libfabric.Interop;

/// <summary>Attributes of the network card behind a <see cref="fi_info"/>. fi_nic(3).</summary>
internal unsafe struct fid_nic
{
    public fid fid;
    public fi_device_attr* device_attr;
    public fi_bus_attr* bus_attr;
    public fi_link_attr* link_attr;
    public void* prov_attr;
}
