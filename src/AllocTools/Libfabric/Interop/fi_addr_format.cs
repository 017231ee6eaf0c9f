namespace AllocTools.Libfabric.Interop;

/// <summary>Address formats; an unnamed enum in C. fi_getinfo(3).</summary>
internal enum fi_addr_format : uint
{
    FI_FORMAT_UNSPEC = 0,
    FI_SOCKADDR = 1,
    FI_SOCKADDR_IN = 2,
    FI_SOCKADDR_IN6 = 3,
    FI_SOCKADDR_IB = 4,
    FI_ADDR_STR = 9,
    FI_ADDR_IB_UD = 11,
    FI_ADDR_EFA = 12,
    FI_ADDR_PSMX3 = 13,
    FI_ADDR_OPX = 14,
    FI_ADDR_CXI = 15,
}
