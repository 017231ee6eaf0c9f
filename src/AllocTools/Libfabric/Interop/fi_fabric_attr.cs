namespace AllocTools.Libfabric.Interop;

/// <summary>Fabric attributes. fi_fabric(3).</summary>
internal unsafe struct fi_fabric_attr
{
    public fid_fabric* fabric;
    public byte* name;
    public byte* prov_name;
    public uint prov_version;
    public uint api_version;
}
