namespace AllocTools.Libfabric.Interop;

/// <summary>The link of a network card; <c>speed</c> in bits per second, <c>mtu</c> in bytes. fi_nic(3).</summary>
internal unsafe struct fi_link_attr
{
    public byte* address;
    public nuint mtu;
    public nuint speed;
    public fi_link_state state;
    public byte* network_type;
}
