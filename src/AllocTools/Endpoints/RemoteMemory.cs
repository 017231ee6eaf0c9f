using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.Endpoints;

/// <summary>
/// The description that a peer needs to access memory of this process by RMA. An exposure of the owner creates it. It is
/// sent to the peer in its binary form, and imported there (<see cref="IRmaEndpoint.Import"/>). It is a value; slicing
/// it makes no new registration.
/// </summary>
/// <remarks>
/// The binary form is little-endian: magic 0xA7, version 2, access, kind of key (0 integer, 1 raw), key length
/// (2 bytes), length of the description of the transport (2, zero without one), address (8), length (8), base of a raw
/// key (8, else zero), key, description, CRC-32C of all preceding bytes (4). An integer key takes 8 bytes, a raw one up
/// to <see cref="MaxKeyLength"/>. docs/wire-forms.md describes it byte by byte.
/// </remarks>
public readonly partial struct RemoteMemory : IEquatable<RemoteMemory>
{
    /// <summary>The longest key, in bytes.</summary>
    public const int MaxKeyLength = 1024;

    /// <summary>The longest binary form, in bytes.</summary>
    public const int MaxEncodedLength = HeaderLength + MaxKeyLength + TransportDescription.MaxEncodedLength + ChecksumLength;

    private const int HeaderLength = 32;
    private const int ChecksumLength = sizeof(uint);
    private const byte Magic = 0xA7;
    private const byte FormatVersion = 2;
    private const int IntegerKeyLength = sizeof(ulong);
    private const RmaAccess KnownAccess = RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite;

    private readonly byte[]? _rawKey;
    private readonly TransportDescription? _transport;

    /// <summary>Describes memory that is accessed with an integer key.</summary>
    /// <param name="address">The value that an operation passes as the remote address of the first byte.</param>
    /// <param name="length">The length in bytes, 0 or more.</param>
    /// <param name="key">The remote key (fi_mr_key).</param>
    /// <param name="access">The operations for which the peer may use the memory.</param>
    public RemoteMemory(ulong address, long length, ulong key, RmaAccess access)
    {
        CheckRange(address, length);
        Address = address;
        Length = length;
        Key = key;
        Access = access;
    }

    /// <summary>Describes memory whose key must be mapped at the initiator (fi_mr_raw_attr).</summary>
    /// <param name="address">The value that an operation passes as the remote address of the first byte.</param>
    /// <param name="length">The length in bytes, 0 or more.</param>
    /// <param name="rawKey">The key, 1 to <see cref="MaxKeyLength"/> bytes.</param>
    /// <param name="rawBase">The base address that belongs to the raw key.</param>
    /// <param name="access">The operations for which the peer may use the memory.</param>
    public RemoteMemory(ulong address, long length, ReadOnlySpan<byte> rawKey, ulong rawBase, RmaAccess access)
    {
        CheckRange(address, length);
        if (rawKey.Length is 0 or > MaxKeyLength)
            throw new ArgumentOutOfRangeException(nameof(rawKey), rawKey.Length, $"The key must have between 1 and {MaxKeyLength} bytes.");
        Address = address;
        Length = length;
        _rawKey = rawKey.ToArray();
        RawBase = rawBase;
        Access = access;
    }

    private RemoteMemory(in RemoteMemory memory, TransportDescription? transport)
    {
        this = memory;
        _transport = transport;
    }

    private RemoteMemory(in RemoteMemory whole, long offset, long length)
    {
        this = whole;
        Address = whole.Address + (ulong)offset;
        Length = length;
    }

    /// <summary>The value that an operation passes as the remote address of the first byte: an address or an offset, depending on the owner's provider.</summary>
    public ulong Address { get; }

    /// <summary>The length in bytes.</summary>
    public long Length { get; }

    /// <summary>The access that the owner grants to the peer.</summary>
    public RmaAccess Access { get; }

    /// <summary>The integer key; 0 if <see cref="IsRaw"/> is true.</summary>
    public ulong Key { get; }

    /// <summary>Whether the key consists of raw bytes and must be mapped before use.</summary>
    public bool IsRaw => _rawKey is not null;

    /// <summary>The raw key; empty if the key is an integer.</summary>
    public ReadOnlySpan<byte> RawKey => _rawKey;

    /// <summary>The base address that belongs to the raw key.</summary>
    public ulong RawBase { get; }

    /// <summary>The transport that the memory belongs to; null if it was not stated, for example in a hand-made description.</summary>
    internal TransportDescription? Transport => _transport;

    /// <summary>The length of the binary form, in bytes.</summary>
    public int EncodedLength => HeaderLength + KeyLength + (_transport?.Encoded.Length ?? 0) + ChecksumLength;

    private int KeyLength => _rawKey?.Length ?? IntegerKeyLength;

    /// <summary>Returns a copy with the transport that the memory belongs to.</summary>
    internal RemoteMemory Of(TransportDescription transport) => new(this, transport);

    /// <summary>Returns a part of the memory.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">The number of bytes; offset + length must not exceed the length of the memory.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the memory.</exception>
    public RemoteMemory Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RemoteMemory(this, offset, length);
    }

    /// <summary>Writes the binary form.</summary>
    /// <param name="destination">At least <see cref="EncodedLength"/> bytes.</param>
    /// <returns>The number of bytes written.</returns>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public int WriteTo(Span<byte> destination)
    {
        if (destination.Length < EncodedLength)
            throw new ArgumentException($"The binary form takes {EncodedLength} bytes, the destination has {destination.Length}.", nameof(destination));
        destination[0] = Magic;
        destination[1] = FormatVersion;
        destination[2] = (byte)Access;
        destination[3] = IsRaw ? (byte)1 : (byte)0;
        ReadOnlySpan<byte> description = _transport?.Encoded;
        BinaryPrimitives.WriteUInt16LittleEndian(destination[4..], (ushort)KeyLength);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[6..], (ushort)description.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], Address);
        BinaryPrimitives.WriteInt64LittleEndian(destination[16..], Length);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[24..], RawBase);
        if (_rawKey is null)
            BinaryPrimitives.WriteUInt64LittleEndian(destination[HeaderLength..], Key);
        else
            _rawKey.CopyTo(destination[HeaderLength..]);
        description.CopyTo(destination[(HeaderLength + KeyLength)..]);
        int checkedLength = EncodedLength - ChecksumLength;
        BinaryPrimitives.WriteUInt32LittleEndian(destination[checkedLength..], Crc32C.Of(destination[..checkedLength]));
        return EncodedLength;
    }

    /// <summary>Returns the binary form.</summary>
    public byte[] ToArray()
    {
        byte[] bytes = new byte[EncodedLength];
        WriteTo(bytes);
        return bytes;
    }

    /// <summary>Reads a binary form, which may come from an untrusted source: every field is checked.</summary>
    /// <param name="source">The bytes, which start with a binary form; more may follow.</param>
    /// <param name="memory">The result.</param>
    /// <param name="consumed">The number of bytes read.</param>
    /// <param name="error">The error, if false is returned.</param>
    /// <returns>True if the bytes start with a binary form.</returns>
    public static bool TryRead(
        ReadOnlySpan<byte> source, out RemoteMemory memory, out int consumed, [NotNullWhen(false)] out string? error)
    {
        memory = default;
        consumed = 0;
        error = FindError(source, out TransportDescription? transport);
        if (error is not null)
            return false;
        int keyLength = BinaryPrimitives.ReadUInt16LittleEndian(source[4..]);
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(source[8..]);
        long length = BinaryPrimitives.ReadInt64LittleEndian(source[16..]);
        ulong rawBase = BinaryPrimitives.ReadUInt64LittleEndian(source[24..]);
        ReadOnlySpan<byte> key = source.Slice(HeaderLength, keyLength);
        var access = (RmaAccess)source[2];
        memory = source[3] == 1
            ? new RemoteMemory(address, length, key, rawBase, access)
            : new RemoteMemory(address, length, BinaryPrimitives.ReadUInt64LittleEndian(key), access);
        memory = new RemoteMemory(memory, transport);
        consumed = memory.EncodedLength;
        return true;
    }

    /// <summary>Reads a binary form.</summary>
    /// <param name="source">The bytes, which start with a binary form; more may follow.</param>
    /// <exception cref="FormatException">The bytes are not a binary form; the message describes the error.</exception>
    public static RemoteMemory Read(ReadOnlySpan<byte> source) =>
        TryRead(source, out RemoteMemory memory, out _, out string? error) ? memory : throw new FormatException(error);

    private static string? FindError(ReadOnlySpan<byte> source, out TransportDescription? transport)
    {
        transport = null;
        if (source.Length < HeaderLength)
            return $"A RemoteMemory takes at least {HeaderLength} bytes; {source.Length} were given. Pass the bytes of the peer's exposure unchanged.";
        if (source[0] != Magic)
            return $"A RemoteMemory must start with 0x{Magic:X2}; 0x{source[0]:X2} was found.";
        if (source[1] != FormatVersion)
            return $"The RemoteMemory has version {source[1]}; this library reads version {FormatVersion}. Both sides need the same.";
        if (((RmaAccess)source[2] & ~KnownAccess) != 0)
            return $"The RemoteMemory grants access 0x{source[2]:X2}, which this library does not know.";
        int keyLength = BinaryPrimitives.ReadUInt16LittleEndian(source[4..]);
        bool keyFits = source[3] switch
        {
            0 => keyLength == IntegerKeyLength,
            1 => keyLength is > 0 and <= MaxKeyLength,
            _ => false,
        };
        if (!keyFits)
            return $"The RemoteMemory has a key of kind {source[3]} with {keyLength} bytes; kind 0 must have {IntegerKeyLength} bytes, kind 1 between 1 and {MaxKeyLength}.";
        int descriptionLength = BinaryPrimitives.ReadUInt16LittleEndian(source[6..]);
        if (descriptionLength > TransportDescription.MaxEncodedLength)
            return $"The RemoteMemory has a description of {descriptionLength} bytes; it must have at most {TransportDescription.MaxEncodedLength}.";
        int end = HeaderLength + keyLength + descriptionLength;
        if (source.Length < end + ChecksumLength)
            return $"The RemoteMemory takes {end + ChecksumLength} bytes; {source.Length} were given: it was truncated. Pass the bytes of the peer's exposure unchanged.";
        if (Crc32C.Of(source[..end]) != BinaryPrimitives.ReadUInt32LittleEndian(source[end..]))
            return "The RemoteMemory's checksum does not match: it was damaged or changed on the way.";
        if (source[3] == 0 && BinaryPrimitives.ReadUInt64LittleEndian(source[24..]) != 0)
            return "The RemoteMemory has reserved bytes that are not zero.";
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(source[8..]);
        long length = BinaryPrimitives.ReadInt64LittleEndian(source[16..]);
        if (length < 0 || address > ulong.MaxValue - (ulong)length)
            return $"The RemoteMemory has length {length}, which is negative or reaches beyond the last address.";
        if (descriptionLength == 0)
            return null;
        transport = TransportDescription.Decode(source.Slice(HeaderLength + keyLength, descriptionLength), out string? damage);
        return damage is null ? null : $"The RemoteMemory can't be used: {damage}.";
    }

    private static void CheckRange(ulong address, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (address > ulong.MaxValue - (ulong)length)
            throw new ArgumentOutOfRangeException(nameof(length), length, "The range reaches beyond the last address.");
    }

    /// <inheritdoc/>
    public bool Equals(RemoteMemory other) =>
        Address == other.Address && Length == other.Length && Access == other.Access && Key == other.Key
        && RawBase == other.RawBase && IsRaw == other.IsRaw && RawKey.SequenceEqual(other.RawKey)
        && (ReferenceEquals(_transport, other._transport) || (_transport?.Encoded).AsSpan().SequenceEqual(other._transport?.Encoded));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is RemoteMemory other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Address, Length, Key, RawBase);

    /// <summary>Returns true if both describe the same memory with the same key.</summary>
    public static bool operator ==(RemoteMemory left, RemoteMemory right) => left.Equals(right);

    /// <summary>Returns false if both describe the same memory with the same key.</summary>
    public static bool operator !=(RemoteMemory left, RemoteMemory right) => !left.Equals(right);

    /// <summary>Returns the length and the access, but never the address or the key.</summary>
    public override string ToString() => $"{Length} bytes, {Access}";
}
