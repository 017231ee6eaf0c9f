using System.Buffers.Binary;

namespace AllocTools.Connections.Rings;

/// <summary>The flags of a frame.</summary>
[Flags]
internal enum FrameFlags
{
    None = 0,

    /// <summary>It is the last frame of its direction.</summary>
    EndOfStream = 1,

    /// <summary>The writer had to wait for credit before it.</summary>
    Stalled = 2,

    /// <summary>It is the last frame in this ring: the next one is at the start of the ring that was offered last.</summary>
    Switch = 4,
}

/// <summary>The 16 bytes with which a frame begins; <see cref="FrameForm"/> defines what follows.</summary>
/// <remarks>
/// Little-endian: the payload's length (28 bits) with the flags above it, the bytes of the run (the frames of one
/// write, in its first frame only), and the credit that is returned with it. Frames start at multiples of 16. A
/// hostile peer may change them at any time, so they must be read once and then checked.
/// </remarks>
/// <param name="PayloadLength">Bytes that follow.</param>
/// <param name="Flags">The flags.</param>
/// <param name="RunLength">Bytes of the whole write, if it is the first frame.</param>
/// <param name="Credit">The bytes of the other direction's ring that were freed since the start.</param>
internal readonly record struct FrameHeader(int PayloadLength, FrameFlags Flags, int RunLength, long Credit)
{
    /// <summary>The length of a header in bytes.</summary>
    public const int Length = 16;

    /// <summary>The longest payload that a header can represent.</summary>
    public const int MostPayload = (1 << 28) - 1;

    /// <summary>Rounds a length up to a multiple of 16.</summary>
    public static int Align(int length) => (length + 15) & ~15;

    public static FrameHeader Read(ReadOnlySpan<byte> source)
    {
        uint first = BinaryPrimitives.ReadUInt32LittleEndian(source);
        return new FrameHeader(
            (int)(first & MostPayload), (FrameFlags)(first >> 28), BinaryPrimitives.ReadInt32LittleEndian(source[4..]), BinaryPrimitives.ReadInt64LittleEndian(source[8..]));
    }

    public void WriteTo(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)PayloadLength | ((uint)Flags << 28));
        BinaryPrimitives.WriteInt32LittleEndian(destination[4..], RunLength);
        BinaryPrimitives.WriteInt64LittleEndian(destination[8..], Credit);
    }
}
