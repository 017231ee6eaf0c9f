using System.Buffers;
using System.Runtime.InteropServices;
using AllocTools.Buffers;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>A part of a rented buffer that an operation reads or fills.</summary>
public readonly struct RmaSlice
{
    internal RmaSlice(RmaBuffer buffer, long offset, long length)
    {
        Buffer = buffer;
        Offset = offset;
        Length = length;
    }

    /// <summary>The buffer.</summary>
    public RmaBuffer Buffer { get; }

    /// <summary>Bytes from the start of the buffer.</summary>
    public long Offset { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>The bytes themselves.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the slice is longer than a span can be.</exception>
    public Span<byte> Span => Buffer.GetSpan(Offset, Length);

    /// <summary>The bytes for asynchronous calls; see <see cref="RmaBuffer.Memory"/>.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the slice is longer than 2 GiB.</exception>
    public Memory<byte> Memory => Buffer.AsMemory(Offset, Length);

    /// <summary>The first byte's address.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public nint Address => Buffer.Address + (nint)Offset;

    /// <summary>Keeps the memory from being rented again while an operation runs. Endpoints call this.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    internal RmaHold Hold() => Buffer.Hold();

    /// <summary>Returns a part of it.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <param name="length">Bytes; offset + length stay within this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the slice.</exception>
    public RmaSlice Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RmaSlice(Buffer, Offset + offset, length);
    }

    /// <summary>Returns the rest of it.</summary>
    /// <param name="offset">Bytes from the start of this slice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public RmaSlice Slice(long offset) => Slice(offset, RangeCheck.Rest(offset, Length));

    /// <summary>Gets a part of it, such as <c>slice[16..]</c> or <c>slice[..^16]</c>.</summary>
    /// <param name="range">Which bytes; its ends are below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the slice.</exception>
    public RmaSlice this[Range range]
    {
        get
        {
            (long offset, long length) = RangeCheck.Resolve(range, Length);
            return Slice(offset, length);
        }
    }

    /// <summary>Finds the registered memory behind any memory that came from a buffer: <see cref="RmaBuffer.Memory"/>, an owner of <see cref="RmaMemoryPoolAdapter"/>, a segment of a pipe or of a server's request, a part of these.</summary>
    /// <remarks>
    /// It takes the same time however many buffers are rented, and allocates nothing. The slice has the same lease as
    /// the memory: the owner of the memory ends it, and after that every use of the slice throws. The slice allows the
    /// same access as the buffer, even if <paramref name="memory"/> is read-only.
    /// </remarks>
    /// <param name="memory">Any memory, empty memory included.</param>
    /// <param name="slice">The same bytes, or the default value.</param>
    /// <returns>False if the memory does not belong to a buffer.</returns>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(4096);
    /// ReadOnlyMemory&lt;byte&gt; somewhereElse = buffer.Memory[100..200];
    /// if (RmaSlice.TryGet(somewhereElse, out RmaSlice slice))
    ///     await endpoint.WriteAsync(slice, remote, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    public static bool TryGet(ReadOnlyMemory<byte> memory, out RmaSlice slice)
    {
        RmaSlice whole;
        if (MemoryMarshal.TryGetMemoryManager(memory, out RmaMemoryOwner? owner, out int start, out int length))
            whole = owner.Buffer;
        else if (MemoryMarshal.TryGetMemoryManager(memory, out RmaBufferMemoryManager? manager, out start, out length))
            whole = manager.Slice;
        else if (MemoryMarshal.TryGetArray(memory, out ArraySegment<byte> segment) && ArrayBlocks.TryFind(segment, out owner, out start))
        {
            whole = owner.Buffer;
            length = segment.Count;
        }
        else
        {
            slice = default;
            return false;
        }
        slice = new RmaSlice(whole.Buffer, whole.Offset + start, length);
        return true;
    }

    /// <summary>
    /// Like <see cref="TryGet(ReadOnlyMemory{byte}, out RmaSlice)"/>, for each non-empty segment of a sequence, such as
    /// one from a pipe.
    /// </summary>
    /// <param name="sequence">Any sequence.</param>
    /// <param name="slices">Receives the slices in order, after its existing elements; it stays unchanged if a segment
    /// does not belong to a buffer.</param>
    /// <returns>False if a segment does not belong to a buffer.</returns>
    public static bool TryGet(in ReadOnlySequence<byte> sequence, ICollection<RmaSlice> slices)
    {
        ArgumentNullException.ThrowIfNull(slices);
        foreach (ReadOnlyMemory<byte> segment in sequence)
        {
            if (!segment.IsEmpty && !TryGet(segment, out _))
                return false;
        }
        foreach (ReadOnlyMemory<byte> segment in sequence)
        {
            if (!segment.IsEmpty && TryGet(segment, out RmaSlice slice))
                slices.Add(slice);
        }
        return true;
    }

    /// <summary>Names the bytes and the buffer.</summary>
    public override string ToString() => Buffer.IsDefault ? Buffer.ToString() : $"{InWords.Bytes(Length)} at offset {InWords.Number(Offset)} of a {Buffer}";

    /// <summary>Returns the whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static implicit operator RmaSlice(RmaBuffer buffer) => new(buffer, 0, buffer.Length);

    /// <summary>Returns the whole buffer as a slice.</summary>
    /// <param name="buffer">The buffer.</param>
    public static RmaSlice FromRmaBuffer(RmaBuffer buffer) => buffer;
}
