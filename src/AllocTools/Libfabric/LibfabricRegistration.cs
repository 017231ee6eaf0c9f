using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>One registration with a domain.</summary>
internal sealed unsafe class LibfabricRegistration : IRmaRegistration
{
    private readonly RmaProviderTraits _traits;
    private readonly TransportDescription _transport;
    private readonly nint _address;
    private readonly long _length;
    private readonly ulong _key;
    private readonly byte[]? _rawKey;
    private readonly ulong _rawBase;

    public LibfabricRegistration(
        RmaProviderTraits traits, TransportDescription transport, MrHandle handle, nint address, long length, ulong? ownKey, ulong key, byte[]? rawKey, ulong rawBase)
    {
        _traits = traits;
        _transport = transport;
        _address = address;
        _length = length;
        _key = key;
        _rawKey = rawKey;
        _rawBase = rawBase;
        Handle = handle;
        OwnKey = ownKey;
        LocalDescriptor = (nint)handle.Descriptor;
    }

    public MrHandle Handle { get; }

    public long Length => _length;

    /// <summary>The key that the context chose; null if the provider chose it.</summary>
    public ulong? OwnKey { get; }

    public nint LocalDescriptor { get; }

    public RemoteMemory Describe(long offset, long length, RmaAccess access)
    {
        RangeCheck.ThrowIfOutside(offset, length, _length);
        ulong address = (ulong)offset + (_traits.Addressing == RmaAddressing.VirtualAddress ? (ulong)_address : 0);
        if (_rawKey is not null)
            return new RemoteMemory(address, length, _rawKey, _rawBase, access).Of(_transport);
        if (_key == FiConstants.FI_KEY_NOTAVAIL)
            throw new NotSupportedException($"The provider '{_traits.ProviderName}' has no key for this registration that can be given to a peer.");
        return new RemoteMemory(address, length, _key, access).Of(_transport);
    }
}
