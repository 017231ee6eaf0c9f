using System.Buffers.Binary;
using System.Text;
using AllocTools.Regions;

namespace AllocTools.Endpoints.Addressing;

/// <summary>
/// Describes the transport in an endpoint's address and in a <see cref="RemoteMemory"/>, so that a peer on another
/// transport is refused before a byte moves. Properties that are null were not stated, and are not compared.
/// </summary>
/// <remarks>
/// The binary form is little-endian. It consists of fields, each with a tag (2 bytes), the value's length (2) and the
/// value. A tag with <see cref="Mandatory"/> must be understood by the reader; other unknown tags are skipped. A new
/// field needs a property, a line in <see cref="Fields"/>, a line in <see cref="FindReasonAgainst"/>, and a row in
/// docs/wire-forms.md.
/// </remarks>
internal sealed class TransportDescription
{
    /// <summary>The longest binary form, in bytes.</summary>
    public const int MaxEncodedLength = 512;

    /// <summary>The bit of a tag that marks a mandatory field, which readers must refuse if they don't know it.</summary>
    public const ushort Mandatory = 0x8000;

    private const int MaxProviderLength = 64;
    private const int FieldHeader = 2 * sizeof(ushort);
    private const string HookPrefix = "ofi_hook_";

    /// <summary>The providers whose two sides work on shared memory, the layout of which depends on the version of the library.</summary>
    private static readonly string[] SharedMemoryLayers = ["shm", "sm2"];

    private static readonly Field[] Fields =
    [
        new(1 | Mandatory, "provider", d => d.Provider is null ? null : Encoding.UTF8.GetBytes(d.Provider), (d, value) => d.TrySetProvider(value)),
        new(2 | Mandatory, "protocol", d => d.Protocol is var (number, version) ? Numbers(number, version) : null, (d, value) =>
        {
            d.Protocol = value.Length == 8 ? (Number(value), Number(value[4..])) : null;
            return d.Protocol is not null;
        }),
        new(3, "library version", d => d.Library is { } v ? Numbers((uint)v.Major, (uint)v.Minor) : null, (d, value) =>
        {
            d.Library = value.Length == 8 && Number(value) <= ushort.MaxValue && Number(value[4..]) <= ushort.MaxValue ? new Version((int)Number(value), (int)Number(value[4..])) : null;
            return d.Library is not null;
        }),
        new(4, "address format", d => d.AddressFormat is { } format ? Numbers(format) : null, (d, value) =>
        {
            d.AddressFormat = value.Length == 4 ? Number(value) : null;
            return d.AddressFormat is not null;
        }),
        new(5 | Mandatory, "word order", d => d.Words is var (order, size) ? [(byte)order, size] : null, (d, value) =>
        {
            d.Words = value.Length == 2 && value[0] is 1 or 2 && value[1] is 4 or 8 ? ((ByteOrder)value[0], value[1]) : null;
            return d.Words is not null;
        }),
        new(6 | Mandatory, "keys", d => d.Keys is var (addressing, isRaw, size) ? [(byte)(addressing == RmaAddressing.VirtualAddress ? 1 : 0), (byte)(isRaw ? 1 : 0), (byte)size, (byte)(size >> 8)] : null, (d, value) =>
        {
            d.Keys = value.Length == 4 && value[0] <= 1 && value[1] <= 1 && BinaryPrimitives.ReadUInt16LittleEndian(value[2..]) is <= RemoteMemory.MaxKeyLength and ushort size
                ? (value[0] == 1 ? RmaAddressing.VirtualAddress : RmaAddressing.Offset, value[1] == 1, size)
                : null;
            return d.Keys is not null;
        }),
        new(7, "context", d => d.Context is { } context ? Numbers((uint)context, (uint)(context >> 32)) : null, (d, value) =>
        {
            d.Context = value.Length == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(value) : null;
            return d.Context is not null;
        }),
        new(8, "place", d => d.Place?.ToArray(), (d, value) =>
        {
            d.Place = PeerPlace.Read(value);
            return d.Place is not null;
        }),
        new(9, "longest message", d => d.MaxMessageLength is { } length ? Numbers((uint)length, (uint)(length >> 32)) : null, (d, value) =>
        {
            d.MaxMessageLength = value.Length == 8 && BinaryPrimitives.ReadInt64LittleEndian(value) is > 0 and long length ? length : null;
            return d.MaxMessageLength is not null;
        }),
        new(10, "gauge", d => d.Gauge is var (address, key) ? Numbers((uint)address, (uint)(address >> 32), (uint)key, (uint)(key >> 32)) : null, (d, value) =>
        {
            d.Gauge = value.Length == 16 ? (BinaryPrimitives.ReadUInt64LittleEndian(value), BinaryPrimitives.ReadUInt64LittleEndian(value[8..])) : null;
            return d.Gauge is not null;
        }),
    ];

    private byte[]? _encoded;

    private delegate bool FieldReader(TransportDescription description, ReadOnlySpan<byte> value);

    /// <summary>The byte order of a processor.</summary>
    public enum ByteOrder : byte
    {
        /// <summary>The least significant byte comes first, as on x86-64 and ARM64.</summary>
        LittleEndian = 1,

        /// <summary>The most significant byte comes first, as on s390x.</summary>
        BigEndian = 2,
    }

    /// <summary>The provider in force, such as <c>tcp;ofi_rxm</c>.</summary>
    public string? Provider { get; set; }

    /// <summary>The protocol's number (fi_ep_attr.protocol) and its version (protocol_version).</summary>
    public (uint Number, uint Version)? Protocol { get; set; }

    /// <summary>The version of the transport's library.</summary>
    public Version? Library { get; set; }

    /// <summary>The format of addresses (fi_info.addr_format).</summary>
    public uint? AddressFormat { get; set; }

    /// <summary>The processor's byte order, and the size of its addresses in bytes.</summary>
    public (ByteOrder Order, byte Size)? Words { get; set; }

    /// <summary>How memory is addressed, whether keys are raw, and their size in bytes.</summary>
    public (RmaAddressing Addressing, bool IsRaw, ushort Size)? Keys { get; set; }

    /// <summary>A random number that identifies the context: memory and endpoints with the same number belong together.</summary>
    public ulong? Context { get; set; }

    /// <summary>The location of the process. Addresses include it, so that unreachable ones are refused, but memory does not.</summary>
    public PeerPlace? Place { get; set; }

    /// <summary>The longest message that the endpoint accepts, in bytes. This belongs to the endpoint, not to its context.</summary>
    public long? MaxMessageLength { get; set; }

    /// <summary>
    /// Where the endpoint publishes the number of its waiting receives, and the key for reading it. This belongs to the
    /// endpoint, not to its context.
    /// </summary>
    public (ulong Address, ulong Key)? Gauge { get; set; }

    /// <summary>This process's byte order and word size.</summary>
    public static (ByteOrder Order, byte Size) OwnWords => (BitConverter.IsLittleEndian ? ByteOrder.LittleEndian : ByteOrder.BigEndian, (byte)nint.Size);

    /// <summary>Whether the provider uses memory that both sides share.</summary>
    public bool IsSharedMemory => Provider?.Split(';').Any(layer => SharedMemoryLayers.Contains(layer)) == true;

    /// <summary>Returns a copy on which more properties can be set.</summary>
    public TransportDescription Copy()
    {
        var copy = (TransportDescription)MemberwiseClone();
        copy._encoded = null;
        return copy;
    }

    /// <summary>
    /// The binary form. A description that was read from a binary form returns those bytes. No property may be set
    /// after this.
    /// </summary>
    public byte[] Encoded => _encoded ??= Encode();

    private byte[] Encode()
    {
        List<byte> bytes = [];
        foreach (Field field in Fields)
        {
            if (field.Write(this) is not { } value)
                continue;
            bytes.AddRange([(byte)field.Tag, (byte)(field.Tag >> 8), (byte)value.Length, (byte)(value.Length >> 8)]);
            bytes.AddRange(value);
        }
        return [.. bytes];
    }

    /// <summary>Reads a binary form.</summary>
    /// <param name="source">The whole binary form, and nothing more.</param>
    /// <param name="error">What is wrong, if null is returned.</param>
    public static TransportDescription? Decode(ReadOnlySpan<byte> source, out string? error)
    {
        var description = new TransportDescription { _encoded = source.ToArray() };
        error = null;
        ulong seen = 0;
        while (!source.IsEmpty && error is null)
        {
            if (source.Length < FieldHeader || source.Length - FieldHeader < BinaryPrimitives.ReadUInt16LittleEndian(source[2..]))
            {
                error = "its description of the transport ends within a field";
                return null;
            }
            ushort tag = BinaryPrimitives.ReadUInt16LittleEndian(source);
            int length = BinaryPrimitives.ReadUInt16LittleEndian(source[2..]);
            ReadOnlySpan<byte> value = source.Slice(FieldHeader, length);
            source = source[(FieldHeader + length)..];
            int index = Array.FindIndex(Fields, field => field.Tag == tag);
            if (index < 0)
                error = (tag & Mandatory) == 0 ? null : $"it requires a feature that this version of AllocTools does not know (field {tag & ~Mandatory}); a later version wrote it";
            else if ((seen & (1UL << index)) != 0)
                error = $"its {Fields[index].Name} is stated twice";
            else if (!Fields[index].Read(description, value))
                error = $"its {Fields[index].Name} can't be read";
            seen |= index < 0 ? 0 : 1UL << index;
        }
        return error is null ? description : null;
    }

    /// <summary>Returns why the two sides can't work together, as text that describes both; null if there is no known reason.</summary>
    public string? FindReasonAgainst(TransportDescription other) => FindDifference(other) is { } difference
        ? $"it is of {other}, and this endpoint of {this}: {difference}"
        : null;

    /// <summary>Describes the transport, without confidential details.</summary>
    public override string ToString()
    {
        StringBuilder text = new($"provider '{Provider ?? "unknown"}'");
        List<string> details = [];
        if (Library is not null)
            details.Add($"libfabric {Library}");
        if (Protocol is var (number, version))
            details.Add($"protocol {number} version {version}");
        return details.Count == 0 ? text.ToString() : text.Append(" (").AppendJoin(", ", details).Append(')').ToString();
    }

    private string? FindDifference(TransportDescription other)
    {
        if (Differ(WithoutHooks(Provider), WithoutHooks(other.Provider)))
            return "the providers differ";
        if (Differ(Protocol, other.Protocol))
            return "their protocols differ, though the provider has the same name";
        if (IsSharedMemory && Differ(Library, other.Library))
            return "each libfabric lays out shared memory in its own way, so both sides need the same version";
        if (IsSharedMemory && Place is { } place && other.Place is { } otherPlace && place.FindReasonAgainstSharedMemory(otherPlace) is { } elsewhere)
            return elsewhere;
        if (Differ(AddressFormat, other.AddressFormat))
            return $"their address formats differ ({other.AddressFormat} and {AddressFormat}; for example, one is IPv4 and the other IPv6)";
        if (Differ(Words, other.Words))
            return $"the other machine's words are {Describe(other.Words)}, this one's {Describe(Words)}";
        if (Keys is var (addressing, isRaw, size) && other.Keys is var (otherAddressing, otherIsRaw, otherSize))
        {
            if (isRaw != otherIsRaw)
                return $"the other side has {(otherIsRaw ? "a raw key" : "an integer key")}, this one works with {(isRaw ? "raw" : "integer")} keys";
            if (size != otherSize)
                return $"the other side's keys have {otherSize} bytes, this one's {size}";
            // With other protocols, each side resolves its own memory; here the initiator does.
            if (IsSharedMemory && addressing != otherAddressing)
                return $"the other side names memory by {Describe(otherAddressing)}, this one by {Describe(addressing)}; give both the same VirtualAddressing";
        }
        return null;
    }

    private bool TrySetProvider(ReadOnlySpan<byte> value)
    {
        if (value.Length is 0 or > MaxProviderLength || value.ContainsAnyExceptInRange((byte)' ', (byte)'~'))
            return false;
        Provider = Encoding.ASCII.GetString(value);
        return true;
    }

    private static bool Differ<T>(T? one, T? other) => one is not null && other is not null && !EqualityComparer<T>.Default.Equals(one, other);

    /// <summary>Removes layers that only observe (fi_hook(7)), because they don't change the data that is sent.</summary>
    private static string? WithoutHooks(string? provider) => provider?.Contains(HookPrefix, StringComparison.Ordinal) == true
        ? string.Join(';', provider.Split(';').Where(layer => !layer.StartsWith(HookPrefix, StringComparison.Ordinal)))
        : provider;

    private static string Describe((ByteOrder Order, byte Size)? words) => words is var (order, size) ? $"{8 * size} bits, {(order == ByteOrder.LittleEndian ? "little" : "big")}-endian" : "unknown";

    private static string Describe(RmaAddressing addressing) => addressing == RmaAddressing.VirtualAddress ? "virtual addresses" : "offsets";

    private static uint Number(ReadOnlySpan<byte> value) => BinaryPrimitives.ReadUInt32LittleEndian(value);

    private static byte[] Numbers(params ReadOnlySpan<uint> numbers)
    {
        byte[] bytes = new byte[numbers.Length * sizeof(uint)];
        for (int i = 0; i < numbers.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(i * sizeof(uint)), numbers[i]);
        return bytes;
    }

    private sealed record Field(ushort Tag, string Name, Func<TransportDescription, byte[]?> Write, FieldReader Read);
}
