namespace AllocTools.Regions;

/// <summary>An address range that is registered: a slab of the pool, a direct region, or the caller's own memory.</summary>
public sealed class MemoryRegion
{
    internal MemoryRegion(nint address, long length, RmaAccess access, IRmaRegistration registration, bool isWritable = true)
    {
        IsWritable = isWritable;
        Address = address;
        Length = length;
        Access = access;
        Registration = registration;
    }

    /// <summary>The first byte.</summary>
    public nint Address { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>The access for which it is registered.</summary>
    public RmaAccess Access { get; }

    /// <summary>
    /// False for memory of the caller that was read-only when it was registered: no operation may write to it, and no peer either.
    /// </summary>
    public bool IsWritable { get; }

    /// <summary>The local descriptor (fi_mr_desc); 0 if the provider has none.</summary>
    public nint LocalDescriptor => Registration.LocalDescriptor;

    /// <summary>The provider's own object.</summary>
    public IRmaRegistration Registration { get; }
}
