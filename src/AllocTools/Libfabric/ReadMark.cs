using System.Buffers.Binary;
using System.Security.Cryptography;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Libfabric;

/// <summary>Distinguishes a read that has transferred its bytes from one that was refused but completed.</summary>
/// <remarks>
/// shm of libfabric 2.6 and later completes a read that its target refuses, without moving any bytes; the old contents
/// of the buffer would then look like the peer's bytes. Therefore the last bytes of the buffer get a mark before each
/// read. If the mark is unchanged afterwards, either nothing was moved or the peer's bytes are the same, and the read
/// is posted again with each bit of the mark inverted.
/// </remarks>
internal static unsafe class ReadMark
{
    /// <summary>
    /// The number of reads with an unchanged mark after which it is certain that nothing was moved. A peer's bytes may
    /// change between two of them.
    /// </summary>
    public const int MostReads = 4;

    /// <summary>The reason for the failure of a read that moved nothing.</summary>
    public const string Reason = "the read completed without moving any bytes";

    private const ulong GoldenRatio = 0x9E3779B97F4A7C15;

    private static readonly ulong Seed = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(sizeof(ulong)));

    /// <summary>Returns the first mark of an operation. A peer can't know it.</summary>
    public static ulong Of(RmaDriverOperation operation) => BinaryPrimitives.ReverseEndianness(Seed + ((ulong)operation.Use * GoldenRatio));

    /// <summary>Marks the end of the buffer.</summary>
    /// <returns>The bytes that the mark replaced.</returns>
    public static ulong Put(RmaDriverOperation read, ulong mark)
    {
        ulong covered = Get(read);
        Set(read, mark);
        return covered;
    }

    /// <summary>Restores the bytes under the mark, if it is unchanged because nothing was moved.</summary>
    /// <returns>True if it was unchanged.</returns>
    public static bool TryTakeBack(RmaDriverOperation read, ulong mark, ulong covered)
    {
        if (read.Length == 0 || (Get(read) ^ mark) << UnusedBits(read) != 0)
            return false;
        Set(read, covered);
        return true;
    }

    /// <summary>Returns the last bytes of the buffer, 8 or as many as there are, as the lowest bytes of a number.</summary>
    private static ulong Get(RmaDriverOperation read)
    {
        ulong value = 0;
        EndOf(read).CopyTo(new Span<byte>(&value, sizeof(ulong)));
        return value;
    }

    private static void Set(RmaDriverOperation read, ulong value)
    {
        Span<byte> end = EndOf(read);
        new ReadOnlySpan<byte>(&value, end.Length).CopyTo(end);
    }

    private static int UnusedBits(RmaDriverOperation read) => 8 * (sizeof(ulong) - EndOf(read).Length);

    private static Span<byte> EndOf(RmaDriverOperation read)
    {
        int length = (int)Math.Min(read.Length, sizeof(ulong));
        return new Span<byte>((void*)(read.Address + (nint)read.Length - length), length);
    }
}
