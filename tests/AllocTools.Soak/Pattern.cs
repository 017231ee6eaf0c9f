using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace AllocTools.Soak;

/// <summary>
/// Bytes that are derived from a number and their position, so that anyone who knows the number can check them.
/// </summary>
internal static class Pattern
{
    private const ulong Step = 0x9E3779B97F4A7C15;

    public static void Fill(Span<byte> bytes, uint seed)
    {
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        ulong next = First(seed);
        for (int i = 0; i < words.Length; i++, next += Step)
            words[i] = next;
        Span<byte> rest = bytes[(words.Length * sizeof(ulong))..];
        Span<byte> last = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(last, next);
        last[..rest.Length].CopyTo(rest);
    }

    /// <summary>Returns how many bytes differ from what <see cref="Fill"/> wrote.</summary>
    public static int CountWrong(ReadOnlySpan<byte> bytes, uint seed)
    {
        int wrong = 0;
        ulong next = First(seed);
        Span<byte> expected = stackalloc byte[sizeof(ulong)];
        while (!bytes.IsEmpty)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(expected, next);
            int length = Math.Min(expected.Length, bytes.Length);
            if (!bytes[..length].SequenceEqual(expected[..length]))
            {
                for (int i = 0; i < length; i++)
                    wrong += bytes[i] == expected[i] ? 0 : 1;
            }
            bytes = bytes[length..];
            next += Step;
        }
        return wrong;
    }

    private static ulong First(uint seed) => (seed + 1ul) * 0xD1B54A32D192ED03;
}
