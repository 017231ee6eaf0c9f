using System.Buffers.Binary;

namespace AllocTools.Cells;

/// <summary>The binary form of a cell (docs/wire-forms.md), for writing and checking it.</summary>
internal static class CellImage
{
    public const int SequenceOffset = 8;
    public const int CheckOffset = 16;
    public const int ValueOffset = 24;

    private const byte Mark = 0xA7;
    private const byte Kind = (byte)'C';
    private const ushort Version = 1;

    /// <summary>Returns the size of a cell with a value of that size: a multiple of 8.</summary>
    public static int SizeOf(int valueLength) => (ValueOffset + valueLength + 7) & ~7;

    /// <summary>Returns the first 8 bytes, which never change.</summary>
    public static ulong Header(int valueLength) => Mark | (Kind << 8) | ((ulong)Version << 16) | ((ulong)valueLength << 32);

    public static ulong HeaderOf(ReadOnlySpan<byte> image) => BinaryPrimitives.ReadUInt64LittleEndian(image);

    public static ulong SequenceOf(ReadOnlySpan<byte> image) => BinaryPrimitives.ReadUInt64LittleEndian(image[SequenceOffset..]);

    /// <summary>Returns the check value of a value that is written with a sequence.</summary>
    public static ulong Check(ReadOnlySpan<byte> value, ulong sequence) => XxHash64.Of(value, sequence);

    /// <summary>Whether the whole image is from one write.</summary>
    public static bool IsWhole(ReadOnlySpan<byte> image, int valueLength)
    {
        ulong sequence = SequenceOf(image);
        return !IsBeingWritten(sequence) && BinaryPrimitives.ReadUInt64LittleEndian(image[CheckOffset..]) == Check(image.Slice(ValueOffset, valueLength), sequence);
    }

    public static bool IsBeingWritten(ulong sequence) => sequence % 2 != 0;

    /// <summary>Describes the error in the first 8 bytes.</summary>
    public static string Describe(ulong header, int valueLength)
    {
        int version = (ushort)(header >> 16);
        return (byte)header != Mark || (byte)(header >> 8) != Kind
            ? $"its memory begins with the bytes {header & 0xFF:X2} {(header >> 8) & 0xFF:X2} instead of {Mark:X2} {Kind:X2}, so no RmaCell was created there, or it was overwritten"
            : version != Version ? $"it has version {version} of the format, and this library reads version {Version}"
            : $"its value has {header >> 32} bytes, and {valueLength} are expected: writer and reader must use the same type";
    }
}
