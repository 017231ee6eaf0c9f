using System.Net;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Regions;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>Valid values of types that several forms contain.</summary>
internal static class Values
{
    private static readonly Gen<string> Provider = Gen.OneOf("tcp;ofi_rxm", "shm", "net", "verbs;ofi_rxm", "ofi_hook_perf;tcp", "x");

    public static Gen<PeerPlace> Place { get; } = Gen.Select(Gen.Guid, Gen.ULong, Gen.ULong, static (boot, network, memory) => new PeerPlace(boot, network, memory));

    private static readonly Gen<(RmaAddressing, bool, ushort)> Keys =
        Gen.Select(Gen.Bool, Gen.Bool, Gen.Int[0, RemoteMemory.MaxKeyLength], static (isVirtual, isRaw, size) => (isVirtual ? RmaAddressing.VirtualAddress : RmaAddressing.Offset, isRaw, (ushort)size));

    private static readonly Gen<TransportDescription> Identity = Gen.Select(
        Provider, Gen.UInt, Gen.UInt, Gen.Int[0, ushort.MaxValue], Gen.UInt, Gen.Bool, Keys, Gen.ULong, static (provider, number, version, library, format, isBig, keys, context) => new TransportDescription
        {
            Provider = provider,
            Protocol = (number, version),
            Library = new Version(library, library / 2),
            AddressFormat = format,
            Words = (isBig ? TransportDescription.ByteOrder.BigEndian : TransportDescription.ByteOrder.LittleEndian, isBig ? (byte)4 : (byte)8),
            Keys = keys,
            Context = context,
        });

    /// <summary>Any fields may be missing.</summary>
    public static Gen<TransportDescription> Description { get; } = Gen.Select(
        Identity, Place, Gen.Long[1, long.MaxValue], Gen.ULong, Gen.ULong, Gen.Int[0, 1023], static (all, place, most, address, key, missing) => new TransportDescription
        {
            Provider = (missing & 1) != 0 ? null : all.Provider,
            Protocol = (missing & 2) != 0 ? null : all.Protocol,
            Library = (missing & 4) != 0 ? null : all.Library,
            AddressFormat = (missing & 8) != 0 ? null : all.AddressFormat,
            Words = (missing & 16) != 0 ? null : all.Words,
            Keys = (missing & 32) != 0 ? null : all.Keys,
            Context = (missing & 64) != 0 ? null : all.Context,
            Place = (missing & 128) != 0 ? null : place,
            MaxMessageLength = (missing & 256) != 0 ? null : most,
            Gauge = (missing & 512) != 0 ? null : (address, key),
        });

    public static Gen<RemoteMemory> Memory { get; } = Gen.Select(
        Gen.Long[0, long.MaxValue], Gen.ULong[0, (ulong)long.MaxValue], Gen.ULong, Gen.Byte.Array[0, 64], Gen.Int[0, 3], Description, Gen.Bool, static (length, address, key, raw, access, description, isDescribed) =>
        {
            var granted = (RmaAccess)(access << 1);
            RemoteMemory memory = raw.Length == 0 ? new RemoteMemory(address, length, key, granted) : new RemoteMemory(address, length, raw, key, granted);
            return isDescribed ? memory.Of(description) : memory;
        });

    /// <summary>Gets memory in which the ring of a connection may be.</summary>
    public static Gen<RemoteMemory> Block { get; } = Gen.Select(
        Gen.Long[1024, 1 << 30], Gen.ULong[0, (ulong)long.MaxValue], Gen.ULong, Description, static (length, address, key, description) => new RemoteMemory(address, length, key, RmaAccess.RemoteWrite).Of(description));

    public static Gen<EndPoint> EndPoint { get; } = Gen.Select(
        Gen.Int[1, 65_535], Gen.UInt[1, uint.MaxValue], Gen.Byte.Array[16], Gen.Int[0, 2], static (port, four, six, kind) => kind switch
        {
            0 => new IPEndPoint(new IPAddress(four), port),
            1 => new IPEndPoint(new IPAddress([0x20, .. six[1..]]), port),
            _ => (EndPoint)new DnsEndPoint($"host-{six[0]}.example", port),
        });
}
