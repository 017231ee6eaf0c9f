namespace AllocTools.Libfabric.Interop;

/// <summary>An address vector. fi_av(3).</summary>
/// <remarks>
/// libfabric does not receive the length of an address, and reads as many bytes as its format has. An address comes
/// from a peer and may be truncated, so the library gets a copy that is padded with zeros.
/// </remarks>
internal sealed unsafe class AvHandle : FidHandle
{
    /// <summary>The length of the longest accepted address, in bytes; the longest of libfabric's own formats has 256.</summary>
    public const int MaxAddressLength = 512;

    private const int AddressRoom = 2 * MaxAddressLength;

    public AvHandle(fid_av* vector, DomainHandle domain)
        : base(vector, domain)
    {
    }

    public fid_av* Pointer => (fid_av*)handle;

    /// <summary>Inserts one address.</summary>
    /// <returns>1 if it was inserted, otherwise 0 or a negative errno; -FI_EINVAL if the address is empty or too long.</returns>
    public int Insert(ReadOnlySpan<byte> address, out ulong fiAddress)
    {
        using FidLease self = new(this);
        ulong inserted = FiConstants.FI_ADDR_NOTAVAIL;
        byte* room = stackalloc byte[AddressRoom];
        fi_ops_av* ops = Pointer->ops;
        int status = !TryPad(address, room) ? -FiErrno.FI_EINVAL
            : ops != null && FiOps.Has(ops, &ops->insert) ? ops->insert(Pointer, room, 1, &inserted, 0, null)
            : -FiErrno.FI_ENOSYS;
        fiAddress = inserted;
        return status;
    }

    /// <summary>Removes one address.</summary>
    public int Remove(ulong fiAddress)
    {
        using FidLease self = new(this);
        fi_ops_av* ops = Pointer->ops;
        return ops != null && FiOps.Has(ops, &ops->remove) ? ops->remove(Pointer, &fiAddress, 1, 0) : -FiErrno.FI_ENOSYS;
    }

    private static bool TryPad(ReadOnlySpan<byte> address, byte* room)
    {
        if (address.Length is 0 or > MaxAddressLength)
            return false;
        Span<byte> padded = new(room, AddressRoom);
        padded.Clear();
        address.CopyTo(padded);
        return true;
    }
}
