using System.Buffers.Binary;
using System.Text;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.MultiRail;

/// <summary>Encodes, for a peer, either the addresses of all rails or the descriptions of one piece of memory on each of them.</summary>
/// <remarks>
/// The bytes may come from an untrusted source, so every field is checked before it decides how much is allocated.
/// docs/wire-forms.md describes the form byte by byte.
/// </remarks>
internal sealed class RailForm
{
    public const int MostRails = 16;
    public const int LongestName = 64;

    private const byte Mark = 0xA7;
    private const byte Letter = 0x4D;
    private const byte FormatVersion = 1;
    private const int IdLength = 16;
    private const int HeaderLength = 42;
    private const int ChecksumLength = sizeof(uint);
    private const int LongestAddress = 1024;

    /// <summary>What the form describes.</summary>
    public enum Content : byte
    {
        /// <summary>Each rail's address, and a word of 8 bytes that a peer reads to probe a rail that was down.</summary>
        Addresses = 1,

        /// <summary>The same memory, as each rail reaches it.</summary>
        Memory = 2,
    }

    public required Content Kind { get; init; }

    /// <summary>The multi-rail that wrote the form.</summary>
    public required Guid Owner { get; init; }

    /// <summary>The id of the exposure; <see cref="Guid.Empty"/> for addresses.</summary>
    public Guid Id { get; init; }

    public required IReadOnlyList<Rail> Rails { get; init; }

    /// <param name="Name">The rail's name.</param>
    /// <param name="Address">The address of its endpoint; empty in the form of memory.</param>
    /// <param name="Memory">The exposed memory, or the word that is read as a probe.</param>
    public readonly record struct Rail(string Name, ReadOnlyMemory<byte> Address, RemoteMemory Memory);

    public static bool IsName(string? name) => name is { Length: > 0 and <= LongestName } && name.All(static c => c is > ' ' and <= '~');

    public byte[] ToArray()
    {
        int length = HeaderLength + Rails.Sum(static r => 1 + r.Name.Length + 2 + r.Address.Length + 2 + r.Memory.EncodedLength) + ChecksumLength;
        byte[] bytes = new byte[length];
        bytes[0] = Mark;
        bytes[1] = Letter;
        bytes[2] = FormatVersion;
        bytes[3] = (byte)Kind;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), length);
        Owner.TryWriteBytes(bytes.AsSpan(8));
        Id.TryWriteBytes(bytes.AsSpan(8 + IdLength));
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8 + (2 * IdLength)), (ushort)Rails.Count);
        Span<byte> rest = bytes.AsSpan(HeaderLength);
        foreach (Rail rail in Rails)
        {
            rest[0] = (byte)rail.Name.Length;
            Encoding.ASCII.GetBytes(rail.Name, rest[1..]);
            rest = rest[(1 + rail.Name.Length)..];
            BinaryPrimitives.WriteUInt16LittleEndian(rest, (ushort)rail.Address.Length);
            rail.Address.Span.CopyTo(rest[2..]);
            rest = rest[(2 + rail.Address.Length)..];
            BinaryPrimitives.WriteUInt16LittleEndian(rest, (ushort)rail.Memory.EncodedLength);
            rest = rest[(2 + rail.Memory.WriteTo(rest[2..]))..];
        }
        BinaryPrimitives.WriteUInt32LittleEndian(rest, Crc32C.Of(bytes.AsSpan(0, length - ChecksumLength)));
        return bytes;
    }

    /// <summary>Reads a form.</summary>
    /// <param name="source">The form, and nothing else.</param>
    /// <param name="kind">What it must describe.</param>
    /// <exception cref="FormatException">The bytes are not such a form; the message describes the error.</exception>
    public static RailForm Read(ReadOnlySpan<byte> source, Content kind)
    {
        string what = kind == Content.Addresses ? "The address of a multi-rail" : "The memory of a multi-rail";
        if (source.Length < HeaderLength + ChecksumLength)
            throw new FormatException($"{what} takes at least {HeaderLength + ChecksumLength} bytes; {source.Length} were given. Pass the peer's bytes unchanged.");
        if (source[0] != Mark || source[1] != Letter)
            throw new FormatException($"{what} must start with 0x{Mark:X2}{Letter:X2}; 0x{source[0]:X2}{source[1]:X2} was found.");
        if (source[2] != FormatVersion)
            throw new FormatException($"{what} has version {source[2]}; this library reads version {FormatVersion}. Both sides need the same.");
        if (BinaryPrimitives.ReadInt32LittleEndian(source[4..]) != source.Length)
            throw new FormatException($"{what} takes {BinaryPrimitives.ReadInt32LittleEndian(source[4..])} bytes by its header; {source.Length} were given. Pass the peer's bytes unchanged.");
        if (Crc32C.Of(source[..^ChecksumLength]) != BinaryPrimitives.ReadUInt32LittleEndian(source[^ChecksumLength..]))
            throw new FormatException($"{what} has a checksum that does not match: it was damaged or changed on the way.");
        if (source[3] != (byte)kind)
            throw new FormatException($"{what} must have kind {(byte)kind}; kind {source[3]} was found. Addresses are for InsertPeer, memory is for Import.");
        int count = BinaryPrimitives.ReadUInt16LittleEndian(source[(8 + (2 * IdLength))..]);
        if (count is 0 or > MostRails)
            throw new FormatException($"{what} has {count} rails; it must have between 1 and {MostRails}.");
        List<Rail> rails = [];
        ReadOnlySpan<byte> rest = source[HeaderLength..^ChecksumLength];
        for (int i = 0; i < count; i++)
        {
            if (ReadRail(ref rest, kind, out Rail rail) is { } error)
                throw new FormatException($"{what} can't be used: {error} of rail {i}.");
            if (rails.Exists(r => r.Name == rail.Name))
                throw new FormatException($"{what} has two rails of the name '{rail.Name}'.");
            rails.Add(rail);
        }
        if (!rest.IsEmpty)
            throw new FormatException($"{what} has {rest.Length} bytes behind its last rail.");
        return new RailForm { Kind = kind, Owner = new Guid(source.Slice(8, IdLength)), Id = new Guid(source.Slice(8 + IdLength, IdLength)), Rails = rails };
    }

    /// <returns>A description of the invalid field; null if the rail is valid.</returns>
    private static string? ReadRail(ref ReadOnlySpan<byte> rest, Content kind, out Rail rail)
    {
        rail = default;
        if (rest.IsEmpty || rest.Length < 1 + rest[0])
            return "the name is truncated";
        string name = Encoding.Latin1.GetString(rest.Slice(1, rest[0]));
        if (!IsName(name))
            return "the name does not have between 1 and 64 printable ASCII characters";
        rest = rest[(1 + name.Length)..];
        if (!TryTake(ref rest, out ReadOnlySpan<byte> address) || address.Length > LongestAddress || address.IsEmpty != (kind == Content.Memory))
            return "the length of the address is wrong";
        if (!TryTake(ref rest, out ReadOnlySpan<byte> memory))
            return "the length of the memory is wrong";
        if (!RemoteMemory.TryRead(memory, out RemoteMemory read, out int consumed, out string? error))
            return error.TrimEnd('.');
        if (consumed != memory.Length)
            return "bytes follow the memory";
        rail = new Rail(name, address.ToArray(), read);
        return null;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (rest.Length < 2 || rest.Length - 2 < BinaryPrimitives.ReadUInt16LittleEndian(rest))
            return false;
        value = rest.Slice(2, BinaryPrimitives.ReadUInt16LittleEndian(rest));
        rest = rest[(2 + value.Length)..];
        return true;
    }
}
