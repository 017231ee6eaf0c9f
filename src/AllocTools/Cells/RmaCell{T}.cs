using AllocTools.Validation;

namespace AllocTools.Cells;

/// <summary>
/// A small value in registered memory that peers read by RMA and never see half-written: one process writes it, any number of
/// peers read it by a <see cref="RmaCellReader{T}"/>, and neither sends the other a message. For parameters, status words,
/// positions in a ring.
/// </summary>
/// <typeparam name="T">
/// The value, as this processor has its bytes: peers have the same type, and the same order of bytes. A few cache lines, rather
/// than pages: the longer it is the more reads meet a write.
/// </typeparam>
/// <remarks>
/// <para>
/// A transport promises nothing of the order and of the size of the steps in which it reads memory that is being written. So a
/// cell carries two things beside its value (docs/wire-forms.md). The sequence is odd while a write is under way, and counts
/// writes: it tells a reader to come again, a new value from an old one that looks the same, and a writer that died from one
/// that is busy. The check value is taken of value and sequence: it finds what the sequence can't, parts of several writes
/// under one even sequence.
/// </para>
/// <para>
/// The writer stores the odd sequence, then value and check value, then the even sequence, with barriers between: so a reader
/// that does go forward in memory meets fewer torn images. What a device sees of that order decides nothing; the check value does.
/// The check value is computed before, so that the cell is at rest for most of the time even if its writer is not.
/// </para>
/// <para>
/// All members are safe to call from any thread. There must be one cell at a time over its memory, in one process. It does not
/// own the buffer: dispose that afterwards. A new cell over the memory of an old one goes on with its sequence.
/// </para>
/// </remarks>
public sealed unsafe class RmaCell<T>
    where T : unmanaged
{
    private readonly Lock _gate = new();
    private readonly RmaSlice _memory;
    private ulong _sequence;
    private T _value;

    /// <summary>Makes a cell.</summary>
    /// <param name="memory">Where it is: <see cref="RmaCell.SizeOf{T}"/> bytes or more, from a multiple of 8 bytes on.</param>
    /// <param name="value">Its first value.</param>
    /// <exception cref="ArgumentException">The memory is too short, does not begin at a multiple of 8 bytes, or may only be read.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor is big-endian.</exception>
    public RmaCell(RmaSlice memory, T value = default)
    {
        int size = RmaCell.SizeOf<T>();
        nint address = memory.Address;
        if (!BitConverter.IsLittleEndian)
            throw new PlatformNotSupportedException("Cells are little-endian, and this processor is not.");
        if (memory.Length < size)
            throw new ArgumentException($"A cell of a value of {InWords.Bytes(sizeof(T))} takes {InWords.Bytes(size)}; the memory has {InWords.Bytes(memory.Length)}.", nameof(memory));
        if (address % RmaCell.Alignment != 0)
            throw new ArgumentException($"A cell must begin at a multiple of {RmaCell.Alignment} bytes; the memory begins {InWords.Bytes(address % RmaCell.Alignment)} after one.", nameof(memory));
        if (memory.Buffer.IsReadOnly)
            throw new ArgumentException("A cell is written to, and this memory may only be read.", nameof(memory));
        _memory = memory.Slice(0, size);
        ulong* words = (ulong*)address;
        ulong header = CellImage.Header(sizeof(T));
        if (words[0] == header)
        {
            // Where the last writer died in the middle of a write it is as if that one had been done.
            _sequence = (words[1] + 1) & ~1UL;
        }
        else
        {
            // Nobody takes what was there for a value.
            Volatile.Write(ref words[1], 1);
            Volatile.WriteBarrier();
            words[0] = header;
        }
        Write(value);
    }

    /// <summary>The memory of the cell, <see cref="RmaCell.SizeOf{T}"/> bytes.</summary>
    public RmaSlice Memory => _memory;

    /// <summary>What was written last.</summary>
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

    /// <summary>Writes a value. It is there for peers when this returns.</summary>
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
            // As bytes from here on: what lies between the fields of a value is part of the check, too.
            ReadOnlySpan<byte> bytes = new(&value, sizeof(T));
            ulong check = CellImage.Check(bytes, next);
            Volatile.Write(ref sequence, next - 1);
            // A volatile write lets later stores pass it.
            Volatile.WriteBarrier();
            bytes.CopyTo(new Span<byte>(cell + CellImage.ValueOffset, sizeof(T)));
            *(ulong*)(cell + CellImage.CheckOffset) = check;
            Volatile.Write(ref sequence, next);
            _sequence = next;
            _value = value;
        }
    }

    /// <summary>Lets peers read the cell.</summary>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose() => _memory.Buffer.Expose(_memory.Offset, _memory.Length, RmaAccess.RemoteRead);

    /// <summary>What it is, how often it was written, and where it is.</summary>
    public override string ToString() => $"cell of {typeof(T).Name}, version {Version}, in {_memory}";
}
