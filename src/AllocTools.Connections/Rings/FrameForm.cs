using System.Buffers.Binary;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Integrity;

namespace AllocTools.Connections.Rings;

/// <summary>The form of a connection's frames and credit, with or without check values.</summary>
/// <remarks>
/// <para>
/// With check values, 16 bytes follow a header: the check value of the payload and padding behind them, and the check
/// value of the header together with the first value. The latter includes the number of the frame in its direction and
/// the reader's number of the connection. So a frame that is lost, repeated, in a wrong place, of another connection,
/// or left over from before is detected like a damaged one. A check value of the whole stream would not detect
/// anything more.
/// </para>
/// <para>
/// The credit word remains a single word of 8 bytes, which is read as a whole while it may be overwritten. It has the
/// lower half of the credit, and a check value of the whole credit. The lower half is enough because a credit differs
/// from the known one by less than a ring.
/// </para>
/// </remarks>
internal sealed class FrameForm(RmaIntegrity integrity)
{
    /// <summary>The longest header.</summary>
    public const int MostHeader = DataAt;

    private const int DataCheckAt = FrameHeader.Length;
    private const int HeaderCheckAt = DataCheckAt + sizeof(ulong);
    private const int DataAt = HeaderCheckAt + sizeof(ulong);

    /// <summary>The check value.</summary>
    public RmaIntegrity Integrity { get; } = integrity;

    /// <summary>Whether there are check values.</summary>
    public bool IsChecked => Integrity != RmaIntegrity.None;

    /// <summary>The bytes before each payload.</summary>
    public int HeaderLength => IsChecked ? DataAt : FrameHeader.Length;

    /// <summary>Returns how many bytes a frame occupies in a ring.</summary>
    public int FrameLength(int payload) => FrameHeader.Align(HeaderLength + payload);

    /// <summary>Adds the check values to a complete frame.</summary>
    /// <param name="frame">The frame, with its padding.</param>
    /// <param name="number">Its number in its direction.</param>
    /// <param name="connection">The reader's number of the connection.</param>
    public void Seal(Span<byte> frame, long number, int connection)
    {
        if (!IsChecked)
            return;
        BinaryPrimitives.WriteUInt64LittleEndian(frame[DataCheckAt..], CheckValue.Of(Integrity, frame[DataAt..]));
        BinaryPrimitives.WriteUInt64LittleEndian(frame[HeaderCheckAt..], OfHeader(frame, number, connection));
    }

    /// <summary>Checks a header.</summary>
    /// <param name="header">The header, of <see cref="HeaderLength"/> bytes, copied.</param>
    /// <param name="number">The number of the frame that is expected.</param>
    /// <param name="connection">This side's number of the connection.</param>
    /// <param name="position">Where the payload begins in the stream.</param>
    /// <returns>The damage; null if there is none.</returns>
    public RmaIntegrityException? CheckHeader(ReadOnlySpan<byte> header, long number, int connection, long position)
    {
        if (!IsChecked)
            return null;
        (ulong expected, ulong found) = (BinaryPrimitives.ReadUInt64LittleEndian(header[HeaderCheckAt..]), OfHeader(header, number, connection));
        return expected == found ? null : new RmaIntegrityException($"The header of the frame at offset {position} of the stream was damaged, or its bytes are not of this frame", position, HeaderLength, expected, found);
    }

    /// <summary>Checks what follows a header.</summary>
    /// <param name="header">The header, of <see cref="HeaderLength"/> bytes, copied.</param>
    /// <param name="data">The payload and its padding.</param>
    /// <param name="position">Where the payload begins in the stream.</param>
    /// <returns>The damage; null if there is none.</returns>
    public RmaIntegrityException? CheckData(ReadOnlySpan<byte> header, ReadOnlySpan<byte> data, long position)
    {
        if (!IsChecked)
            return null;
        (ulong expected, ulong found) = (BinaryPrimitives.ReadUInt64LittleEndian(header[DataCheckAt..]), CheckValue.Of(Integrity, data));
        return expected == found ? null : new RmaIntegrityException($"{data.Length} bytes at offset {position} of the stream were damaged", position, data.Length, expected, found);
    }

    /// <summary>Encodes a credit as a word.</summary>
    public long EncodeCredit(long credit, int connection) => IsChecked ? (long)(((ulong)OfCredit(credit, connection) << 32) | (uint)credit) : credit;

    /// <summary>Decodes the credit in a word.</summary>
    /// <param name="word">The word.</param>
    /// <param name="known">The credit that is known.</param>
    /// <param name="connection">This side's number of the connection.</param>
    /// <param name="damage">The damage; null if there is none.</param>
    public long DecodeCredit(long word, long known, int connection, out RmaIntegrityException? damage)
    {
        damage = null;
        if (!IsChecked)
            return word;
        long credit = known + (int)((uint)word - (uint)known);
        (ulong expected, ulong found) = ((ulong)word >> 32, OfCredit(credit, connection));
        if (expected != found)
            damage = new RmaIntegrityException("The bytes of the credit that the peer has given were damaged", 0, sizeof(long), expected, found);
        return credit;
    }

    private ulong OfHeader(ReadOnlySpan<byte> header, long number, int connection)
    {
        Span<byte> bytes = stackalloc byte[2 * sizeof(ulong) + HeaderCheckAt];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[sizeof(ulong)..], connection);
        header[..HeaderCheckAt].CopyTo(bytes[(2 * sizeof(ulong))..]);
        return CheckValue.Of(Integrity, bytes);
    }

    private uint OfCredit(long credit, int connection)
    {
        Span<byte> bytes = stackalloc byte[2 * sizeof(ulong)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, credit);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[sizeof(ulong)..], connection);
        ulong value = CheckValue.Of(Integrity, bytes);
        return (uint)value ^ (uint)(value >> 32);
    }
}
