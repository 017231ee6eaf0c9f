using System.Buffers.Binary;
using AllocTools.Validation;

namespace AllocTools.Endpoints.Integrity;

/// <summary>
/// A rented buffer whose blocks have guard tags, like the sectors of T10 DIF: check values that are written and read
/// with the data, so that the side that compares them detects damage in transit and in memory.
/// </summary>
/// <remarks>
/// <para>
/// A one-sided operation runs no code at the target, so the check values must travel as bytes, and the side that uses
/// the data compares them. Both sides rent such memory with the same length, check value and block length. The owner
/// exposes its memory, and peers move blocks between the same offsets of both memories by
/// <see cref="RmaCheckedExtensions.WriteCheckedAsync"/> and <see cref="RmaCheckedExtensions.ReadCheckedAsync"/>. A tag
/// includes the number of its block, so bytes that arrived at a wrong place are detected, too.
/// </para>
/// <para>
/// Data and tags are written by two operations in any order (or by one if all of the memory is written). A reader that
/// comes between the two, or after a writer that died there, finds a mismatch. That is reported as the same kind of
/// error, and only the application can tell the causes apart. A write that never happened leaves data and tags as they
/// were, and is not detected.
/// </para>
/// <para>Only one thread at a time may seal, verify or move the same blocks.</para>
/// </remarks>
public sealed class RmaCheckedMemory : IDisposable
{
    /// <summary>The default length of a block.</summary>
    public const int DefaultBlockLength = 4096;

    private const int LeastBlock = 64;
    private const int MostBlock = 1 << 30;
    private const int TagLength = sizeof(ulong);

    private readonly RmaBuffer _buffer;
    private readonly long _tagsAt;

    private RmaCheckedMemory(RmaBuffer buffer, long length, long tagsAt, RmaIntegrity integrity, int blockLength)
    {
        _buffer = buffer;
        _tagsAt = tagsAt;
        Length = length;
        Integrity = integrity;
        BlockLength = blockLength;
    }

    /// <summary>The length of the data in bytes.</summary>
    public long Length { get; }

    /// <summary>The kind of check value that a tag holds.</summary>
    public RmaIntegrity Integrity { get; }

    /// <summary>The number of data bytes that one tag protects; the last block may be shorter.</summary>
    public int BlockLength { get; }

    /// <summary>The data, followed by the tags (8 bytes for each block, from the next multiple of 8 on).</summary>
    public RmaBuffer Buffer => _buffer;

    /// <summary>Rents zeroed memory with matching tags.</summary>
    /// <param name="pool">The pool.</param>
    /// <param name="length">The length of the data in bytes.</param>
    /// <param name="integrity">The kind of check value.</param>
    /// <param name="blockLength">The number of bytes that one tag protects: 64 B to 1 GiB, a multiple of 8. Only whole blocks are read and written.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is outside its range, or no check value was chosen.</exception>
    /// <exception cref="RmaException">The pool has no room.</exception>
    public static RmaCheckedMemory Rent(IRmaMemoryPool pool, long length, RmaIntegrity integrity, int blockLength = DefaultBlockLength)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        if (integrity is not (RmaIntegrity.Crc32C or RmaIntegrity.XxHash3))
            throw new ArgumentOutOfRangeException(nameof(integrity), integrity, $"The check value is {integrity}; it must be {RmaIntegrity.Crc32C} or {RmaIntegrity.XxHash3}.");
        if (blockLength is < LeastBlock or > MostBlock || blockLength % TagLength != 0)
            throw new ArgumentOutOfRangeException(nameof(blockLength), blockLength, $"The block length is {InWords.Bytes(blockLength)}; it must be between 64 B and 1 GiB, and a multiple of 8.");
        long tagsAt = (length + TagLength - 1) / TagLength * TagLength;
        long blocks = (length + blockLength - 1) / blockLength;
        RmaBuffer buffer = pool.Rent(tagsAt + blocks * TagLength);
        try
        {
            var memory = new RmaCheckedMemory(buffer, length, tagsAt, integrity, blockLength);
            for (long block = 0; block < blocks; block++)
                memory.DataOf(block).Clear();
            memory.Seal();
            return memory;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Returns a part of the data. Changes to it require <see cref="Seal(long, long)"/>, which a checked write calls itself.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">The number of bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the data.</exception>
    public Span<byte> GetSpan(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return _buffer.GetSpan(offset, length);
    }

    /// <summary>Makes all of the memory, data and tags, accessible to peers.</summary>
    /// <param name="access">What peers may do.</param>
    /// <exception cref="InvalidOperationException">The pool does not allow that access.</exception>
    public RmaExposure Expose(RmaAccess access) => _buffer.Expose(access);

    /// <summary>Recomputes all tags.</summary>
    public void Seal() => Seal(0, Length);

    /// <summary>Recomputes tags after this side has changed the data.</summary>
    /// <param name="offset">Where the first block begins.</param>
    /// <param name="length">The number of bytes: whole blocks, or up to the end.</param>
    /// <exception cref="ArgumentException">The range does not consist of whole blocks.</exception>
    public void Seal(long offset, long length)
    {
        (long first, long end) = BlocksOf(offset, length);
        for (long block = first; block < end; block++)
            BinaryPrimitives.WriteUInt64LittleEndian(TagOf(block), Compute(block));
    }

    /// <summary>Compares all data with its tags.</summary>
    /// <exception cref="RmaIntegrityException">A block does not match its check value; the message describes the first such block.</exception>
    public void Verify() => Verify(0, Length);

    /// <summary>Compares data with its tags, such as data that a peer has written and then announced.</summary>
    /// <param name="offset">Where the first block begins.</param>
    /// <param name="length">The number of bytes: whole blocks, or up to the end.</param>
    /// <exception cref="ArgumentException">The range does not consist of whole blocks.</exception>
    /// <exception cref="RmaIntegrityException">A block does not match its check value; the message describes the first such block.</exception>
    public void Verify(long offset, long length)
    {
        (long first, long end) = BlocksOf(offset, length);
        for (long block = first; block < end; block++)
        {
            (ulong expected, ulong found) = (BinaryPrimitives.ReadUInt64LittleEndian(TagOf(block)), Compute(block));
            if (expected == found)
                continue;
            (long at, long bytes) = (block * BlockLength, Math.Min(BlockLength, Length - block * BlockLength));
            throw new RmaIntegrityException($"{bytes} bytes at offset {at} of checked memory were damaged, or are being written", at, bytes, expected, found);
        }
    }

    /// <summary>Returns the memory to the pool.</summary>
    public void Dispose() => _buffer.Dispose();

    /// <summary>Returns the ranges of the buffer that hold these blocks and their tags; a single range for all of the memory.</summary>
    internal (long Offset, long Length)[] PartsOf(long offset, long length)
    {
        (long first, long end) = BlocksOf(offset, length);
        return length == Length ? [(0, _buffer.Length)] : [(offset, Math.Min(end * BlockLength, _tagsAt) - offset), (_tagsAt + first * TagLength, (end - first) * TagLength)];
    }

    private (long First, long End) BlocksOf(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        if (length == 0 || offset % BlockLength != 0 || (length % BlockLength != 0 && offset + length != Length))
            throw new ArgumentException($"The range of {InWords.Bytes(length)} at offset {offset} is not one of whole blocks; it must begin at a multiple of {BlockLength}, and end at one or at the end, {Length}.", nameof(length));
        return (offset / BlockLength, (offset + length + BlockLength - 1) / BlockLength);
    }

    private ulong Compute(long block) => CheckValue.Of(Integrity, DataOf(block), (ulong)block);

    /// <summary>Returns the bytes of a block. The last block includes the padding before the tags, which is moved with it.</summary>
    private Span<byte> DataOf(long block)
    {
        long offset = block * BlockLength;
        return _buffer.GetSpan(offset, Math.Min(BlockLength, _tagsAt - offset));
    }

    private Span<byte> TagOf(long block) => _buffer.GetSpan(_tagsAt + block * TagLength, TagLength);
}
