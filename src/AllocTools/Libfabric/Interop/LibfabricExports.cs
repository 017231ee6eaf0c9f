namespace AllocTools.Libfabric.Interop;

/// <summary>The exported functions that the binding calls; all others are reached through tables. fabric(7).</summary>
internal unsafe struct LibfabricExports
{
    public delegate* unmanaged[Cdecl]<uint, byte*, byte*, ulong, fi_info*, fi_info**, int> fi_getinfo;
    public delegate* unmanaged[Cdecl]<fi_info*, void> fi_freeinfo;
    public delegate* unmanaged[Cdecl]<fi_info*, fi_info*> fi_dupinfo;
    public delegate* unmanaged[Cdecl]<fi_fabric_attr*, fid_fabric**, void*, int> fi_fabric;
    public delegate* unmanaged[Cdecl]<uint> fi_version;
    public delegate* unmanaged[Cdecl]<int, byte*> fi_strerror;

    /// <summary>fi_tostr itself writes to one buffer that all threads share; this is its re-entrant form (since 1.12).</summary>
    public delegate* unmanaged[Cdecl]<byte*, nuint, void*, fi_type, byte*> fi_tostr_r;
}
