using AllocTools.Validation;

namespace AllocTools.Cells;

/// <summary>
/// A small value in registered memory that peers read by RMA and never see half-written: one process writes it, any number of
/// peers read it by a <see cref="RmaCellReader{T}"/>, and neither sends the other a message. It is meant for
/// parameters, status words, and positions in a ring.
/// </summary>
/// <typeparam name="T">
/// The value, in the layout of this processor: peers must have the same type and the same byte order. It should be a
/// few cache lines and not pages, because the longer it is, the more reads overlap a write.
/// </typeparam>
/// <remarks>
/// <para>
/// A transport does not guarantee the order and the size of the steps in which it reads memory that is being written.
/// Therefore a cell contains two things in addition to its value (docs/wire-forms.md). The sequence is odd while a
/// write is in progress, and counts writes: a reader sees from it that it must try again, distinguishes a new value
/// from an equal old one, and a writer that died from one that is busy. The check value is computed from value and
/// sequence: it detects what the sequence can't, parts of several writes under one even sequence.
/// </para>
/// <para>
/// The writer stores the odd sequence, then value and check value, then the even sequence, with barriers in between, so
/// that a reader that reads forward sees fewer torn images. Correctness does not depend on the order that a device
/// sees, but only on the check value. The check value is computed first, so that the cell is consistent most of the
/// time even if its writer writes all the time.
/// </para>
/// <para>
/// All members are safe to call from any thread. There must be one cell at a time over its memory, in one process. It
/// does not own the buffer: dispose the buffer after the last use of the cell. A new cell over the memory of an old one
/// continues its sequence.
/// </para>
/// </remarks>
public sealed unsafe class RmaCell<T>
    where T : unmanaged
{
    private readonly Lock _gate = new();
    private readonly RmaSlice _memory;
    private ulong _sequence;
    private T _value;

    /// <summary>Creates a cell.</summary>
    /// <param name="memory">The memory of the cell: at least <see cref="RmaCell.SizeOf{T}"/> bytes, aligned to 8 bytes.</param>
    /// <param name="value">Its first value.</param>
    /// <exception cref="ArgumentException">The memory is too short, not aligned to 8 bytes, or read-only.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor is big-endian.</exception>
    public RmaCell(RmaSlice memory, T value = default)
    {
        int size = RmaCell.SizeOf<T>();
        nint address = memory.Address;
        if (!BitConverter.IsLittleEndian)
            throw new PlatformNotSupportedException("Cells require a little-endian processor; this one is big-endian.");
        if (memory.Length < size)
            throw new ArgumentException($"A cell of a value of {InWords.Bytes(sizeof(T))} takes {InWords.Bytes(size)}; the memory has {InWords.Bytes(memory.Length)}.", nameof(memory));
        if (address % RmaCell.Alignment != 0)
            throw new ArgumentException($"A cell must begin at a multiple of {RmaCell.Alignment} bytes; the memory begins {InWords.Bytes(address % RmaCell.Alignment)} after one.", nameof(memory));
        if (memory.Buffer.IsReadOnly)
            throw new ArgumentException("A cell needs writable memory; this memory is read-only.", nameof(memory));
        _memory = memory.Slice(0, size);
        ulong* words = (ulong*)address;
        ulong header = CellImage.Header(sizeof(T));
        if (words[0] == header)
        {
            // If the last writer died in the middle of a write, that write counts as completed.
            _sequence = (words[1] + 1) & ~1UL;
        }
        else
        {
            // No reader mistakes the previous contents for a value.
            Volatile.Write(ref words[1], 1);
            Volatile.WriteBarrier();
            words[0] = header;
        }
        Write(value);
    }

    /// <summary>The memory of the cell, <see cref="RmaCell.SizeOf{T}"/> bytes.</summary>
    public RmaSlice Memory => _memory;

    /// <summary>The last written value.</summary>
    public T Value
    {
        get
        {
            lock (_gate)
                return _value;
        }
    }

    /// <summary>How often it was written; readers get the same number with the value.</summary>
    public long Version
    {
        get
        {
            lock (_gate)
                return (long)(_sequence / 2);
        }
    }

    /// <summary>Writes a value. Peers can read it when this returns.</summary>
    /// <param name="value">The value.</param>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(RmaCell.SizeOf&lt;long&gt;());
    /// RmaCell&lt;long&gt; progress = new(buffer);
    /// using RmaExposure exposure = progress.Expose();
    /// byte[] forThePeers = exposure.Remote.ToArray();
    /// for (long done = 1; done &lt;= 100; done++)
    ///     progress.Write(done);
    /// </code>
    /// </example>
    public void Write(T value)
    {
        lock (_gate)
        {
            byte* cell = (byte*)_memory.Address;
            ref ulong sequence = ref *(ulong*)(cell + CellImage.SequenceOffset);
            ulong next = _sequence + 2;
            // From here on the value is handled as bytes: the padding between its fields is part of the check, too.
            ReadOnlySpan<byte> bytes = new(&value, sizeof(T));
            ulong check = CellImage.Check(bytes, next);
            Volatile.Write(ref sequence, next - 1);
            // A volatile write would not prevent later stores from passing it.
            Volatile.WriteBarrier();
            bytes.CopyTo(new Span<byte>(cell + CellImage.ValueOffset, sizeof(T)));
            *(ulong*)(cell + CellImage.CheckOffset) = check;
            Volatile.Write(ref sequence, next);
            _sequence = next;
            _value = value;
        }
    }

    /// <summary>Gives peers read access to the cell.</summary>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose() => _memory.Buffer.Expose(_memory.Offset, _memory.Length, RmaAccess.RemoteRead);

    /// <summary>Returns the type, the version, and the memory of the cell.</summary>
    public override string ToString() => $"cell of {typeof(T).Name}, version {Version}, in {_memory}";
}
