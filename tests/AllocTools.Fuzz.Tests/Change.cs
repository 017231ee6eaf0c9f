using System.Buffers.Binary;

namespace AllocTools.Fuzz.Tests;

/// <summary>A change of an input.</summary>
/// <param name="Kind">The kind of change.</param>
/// <param name="At">The position, as a fraction of the whole in units of 1/65536.</param>
/// <param name="Length">The number of bytes that it affects.</param>
/// <param name="Number">Selects the number or the bytes that are written.</param>
internal readonly record struct Change(ChangeKind Kind, int At, int Length, ulong Number)
{
    /// <summary>Numbers at the limits of types, and of the product's own forms.</summary>
    private static readonly ulong[] Limits =
    [
        0, 1, 2, 4, 7, 8, 9, 15, 16, 17, 31, 32, 64, 127, 128, 255, 256, 512, 1023, 1024, 1025, 4095, 4096, 8192, 8193, 32767, 32768, 65535, 65536, 1 << 20,
        (1UL << 28) - 1, 1UL << 28, (1UL << 30) + 1, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32, long.MaxValue, 1UL << 63, ulong.MaxValue - 1, ulong.MaxValue,
    ];

    public static Gen<Change> Any { get; } = Gen.Select(Gen.Int[0, (int)ChangeKind.Word], Gen.Int[0, 65_535], Gen.Int[1, 40], Gen.ULong, static (kind, at, length, number) => new Change((ChangeKind)kind, at, length, number));

    /// <summary>Makes the change.</summary>
    /// <param name="bytes">The input.</param>
    /// <param name="other">Another valid input.</param>
    /// <param name="words">Pieces of the form.</param>
    /// <param name="most">The maximum length of the result in bytes.</param>
    public byte[] Apply(byte[] bytes, byte[] other, IReadOnlyList<byte[]> words, int most)
    {
        int at = (int)((long)At * (bytes.Length + 1) >> 16);
        int length = Math.Min(Length, bytes.Length - at);
        byte[] changed = Kind switch
        {
            ChangeKind.Cut => bytes[..at],
            ChangeKind.Remove => [.. bytes[..at], .. bytes[(at + length)..]],
            ChangeKind.Insert => [.. bytes[..at], .. Noise(Length), .. bytes[at..]],
            ChangeKind.Repeat => [.. bytes[..at], .. Enumerable.Repeat(bytes[at..(at + length)], 1 + (int)(Number % 200)).SelectMany(static b => b), .. bytes[at..]],
            ChangeKind.Splice => [.. bytes[..at], .. other[(int)((long)At * (other.Length + 1) >> 16)..]],
            ChangeKind.Word when words.Count > 0 => [.. bytes[..at], .. words[(int)(Number % (ulong)words.Count)], .. bytes[at..]],
            _ => Overwrite([.. bytes], Math.Min(at, Math.Max(0, bytes.Length - 1))),
        };
        return changed.Length <= most ? changed : changed[..most];
    }

    private byte[] Overwrite(byte[] bytes, int at)
    {
        Span<byte> rest = bytes.AsSpan(at);
        if (rest.IsEmpty)
            return bytes;
        switch (Kind)
        {
            case ChangeKind.Flip:
                rest[0] ^= (byte)(1 << (int)(Number % 8));
                break;
            case ChangeKind.Limit:
                Span<byte> number = stackalloc byte[sizeof(ulong)];
                ulong limit = Limits[(int)(Number % (ulong)Limits.Length)];
                bool isBig = (Number >> 60) == 0;
                int width = 1 << (Length % 4);
                if (isBig)
                    BinaryPrimitives.WriteUInt64BigEndian(number, limit << (64 - (8 * width)));
                else
                    BinaryPrimitives.WriteUInt64LittleEndian(number, limit);
                number[..Math.Min(width, rest.Length)].CopyTo(rest);
                break;
            default:
                Noise(Math.Min(Length, rest.Length)).CopyTo(rest);
                break;
        }
        return bytes;
    }

    private byte[] Noise(int length)
    {
        byte[] noise = new byte[length];
        new Random(unchecked((int)Number)).NextBytes(noise);
        return noise;
    }
}

/// <summary>The kind of a change.</summary>
internal enum ChangeKind
{
    /// <summary>Inverts one bit.</summary>
    Flip,

    /// <summary>Replaces 1, 2, 4 or 8 bytes with a number at a limit.</summary>
    Limit,

    /// <summary>Replaces some bytes with random ones.</summary>
    Noise,

    /// <summary>Cuts off the end.</summary>
    Cut,

    /// <summary>Removes some bytes.</summary>
    Remove,

    /// <summary>Inserts random bytes.</summary>
    Insert,

    /// <summary>Repeats some bytes up to 200 times.</summary>
    Repeat,

    /// <summary>Replaces the end with that of another valid input.</summary>
    Splice,

    /// <summary>Inserts a piece of the form.</summary>
    Word,
}
