using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>
/// A fancy pointer: dereferences, indexes, adds and compares like a <c>T*</c>, but every access checks the lease and the
/// bounds, and it carries the keys of what it points to.
/// </summary>
/// <typeparam name="T">What it points to.</typeparam>
/// <remarks>
/// <para>
/// A pointer is a value without ownership: copying it does not copy the lease, and it becomes invalid with the lease
/// that it points into. The default value is the null pointer. Arithmetic may leave the buffer, as with a <c>T*</c>; a
/// dereference outside of it throws. With the pool's option <see cref="RmaMemoryPoolOptions.CheckPointers"/>, and in a
/// debug build of the library, arithmetic that goes before the start or past the end (one element beyond the last)
/// throws as well.
/// </para>
/// <para>
/// Pointers into different buffers are ordered by address. A pointer to anything, a <c>void*</c>, is an
/// <see cref="RmaPointer{T}"/> of bytes: <see cref="Cast"/> converts between them. Read-only access uses
/// <see cref="RmaReadOnlyPointer{T}"/>, to which each pointer converts.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// RmaAllocator&lt;long&gt; allocator = new(pool);
/// RmaPointer&lt;long&gt; first = allocator.AllocateZeroed(100);
/// for (RmaPointer&lt;long&gt; p = first; p &lt; first + 100; p++)
///     p.Value = p - first;
/// await endpoint.WriteAsync(first.Slice(100), remote, cancellationToken: cancellationToken);
/// allocator.Free(first);
/// </code>
/// </example>
public readonly unsafe struct RmaPointer<T> : IEquatable<RmaPointer<T>>, IComparable<RmaPointer<T>>
    where T : unmanaged
{
#if DEBUG
    private const bool IsAlwaysChecked = true;
#else
    private const bool IsAlwaysChecked = false;
#endif

    private readonly RmaBuffer _buffer;
    private readonly long _offset;

    /// <summary>Points into a buffer.</summary>
    /// <param name="buffer">A rented buffer.</param>
    /// <param name="byteOffset">Bytes from its start.</param>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public RmaPointer(RmaBuffer buffer, long byteOffset = 0)
    {
        _ = buffer.Address;
        _buffer = buffer;
        _offset = byteOffset;
    }

    private RmaPointer(long offset, RmaBuffer buffer)
    {
        _buffer = buffer;
        _offset = offset;
    }

    /// <summary>The null pointer.</summary>
    [SuppressMessage("Design", "CA1000", Justification = "As IntPtr.Zero; a pointer's type is always at hand where one is needed.")]
    public static RmaPointer<T> Null => default;

    /// <summary>True for the null pointer.</summary>
    public bool IsNull => _buffer.IsDefault;

    /// <summary>The buffer it points into.</summary>
    public RmaBuffer Buffer => _buffer;

    /// <summary>Bytes from the start of the buffer. May be negative or past the end.</summary>
    public long ByteOffset => _offset;

    /// <summary>What it points to.</summary>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It points outside the buffer.</exception>
    public ref T Value => ref At(_offset, nameof(Value));

    /// <summary>The local descriptor of what it points to (fi_mr_desc); 0 if the provider has none.</summary>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    public nint LocalDescriptor => _buffer.LocalDescriptor;

    /// <summary>Gets a reference to an element, counted from here.</summary>
    /// <param name="index">Elements; may be negative.</param>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The element is outside the buffer.</exception>
    public ref T this[long index] => ref At(_offset + checked(index * sizeof(T)), nameof(index));

    /// <summary>Returns elements from here on.</summary>
    /// <param name="count">Elements.</param>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the buffer.</exception>
    public Span<T> AsSpan(int count)
    {
        // For a null pointer the error is about the pointer, whatever the count.
        nint address = _buffer.Address;
        _ = BytesOf(count);
        return new Span<T>((void*)(address + (nint)_offset), count);
    }

    /// <summary>Returns elements from here on, for an operation of an endpoint.</summary>
    /// <param name="count">Elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the buffer.</exception>
    public RmaSlice Slice(long count) => _buffer.Slice(_offset, BytesOf(count));

    /// <summary>Gives peers access to elements from here on.</summary>
    /// <param name="count">Elements.</param>
    /// <param name="access">The access to grant.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(long count, RmaAccess access) => _buffer.Expose(_offset, BytesOf(count), access);

    /// <summary>Returns the same place, seen as another type: the pointer's rebind.</summary>
    /// <typeparam name="TOther">The other type.</typeparam>
    public RmaPointer<TOther> Cast<TOther>()
        where TOther : unmanaged => new(_offset, _buffer);

    /// <summary>Returns the raw pointer. It is not valid beyond the lease.</summary>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    public T* ToPointer() => (T*)(_buffer.Address + (nint)_offset);

    /// <summary>Returns a pointer to something in the same buffer, such as a field of what it points to: <c>p.PointerTo(ref p.Value.Field)</c>.</summary>
    /// <typeparam name="TMember">What it is.</typeparam>
    /// <param name="member">What to point to.</param>
    /// <exception cref="InvalidOperationException">It is null, or the buffer was returned.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It is not in the buffer.</exception>
    public RmaPointer<TMember> PointerTo<TMember>(ref readonly TMember member)
        where TMember : unmanaged
    {
        long offset = (nint)Unsafe.AsPointer(in member) - _buffer.Address;
        RangeCheck.ThrowIfOutside(offset, sizeof(TMember), _buffer.Length, nameof(member), nameof(member));
        return new RmaPointer<TMember>(offset, _buffer);
    }

    /// <summary>Returns the same place as a read-only pointer.</summary>
    public RmaReadOnlyPointer<T> AsReadOnly() => new(this);

    /// <summary>Moves forward.</summary>
    /// <param name="elements">Elements; may be negative.</param>
    /// <exception cref="OverflowException">The offset exceeds 2^63 bytes.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It leaves the buffer, and arithmetic is checked (<see cref="RmaMemoryPoolOptions.CheckPointers"/>).</exception>
    /// <exception cref="InvalidOperationException">It is null, and can't be moved.</exception>
    public RmaPointer<T> Add(long elements) => MoveTo(checked(_offset + elements * sizeof(T)), elements);

    /// <summary>Moves back.</summary>
    /// <param name="elements">Elements; may be negative.</param>
    /// <inheritdoc cref="Add" path="/exception"/>
    public RmaPointer<T> Subtract(long elements) => MoveTo(checked(_offset - elements * sizeof(T)), elements);

    /// <summary>Returns the number of elements between two pointers into one buffer.</summary>
    /// <param name="other">The one that is subtracted.</param>
    /// <exception cref="ArgumentException">They point into different buffers.</exception>
    public long Subtract(RmaPointer<T> other) => _buffer == other._buffer
        ? (_offset - other._offset) / sizeof(T)
        : throw new ArgumentException("The pointers point into different buffers; there is no distance between them.", nameof(other));

    /// <inheritdoc/>
    public int CompareTo(RmaPointer<T> other) => _buffer == other._buffer
        ? _offset.CompareTo(other._offset)
        : (_buffer.UncheckedAddress + (nint)_offset).CompareTo(other._buffer.UncheckedAddress + (nint)other._offset);

    /// <inheritdoc/>
    public bool Equals(RmaPointer<T> other) => _buffer == other._buffer && _offset == other._offset;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is RmaPointer<T> other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_buffer, _offset);

    /// <summary>Moves forward.</summary>
    public static RmaPointer<T> operator +(RmaPointer<T> pointer, long elements) => pointer.Add(elements);

    /// <summary>Moves back.</summary>
    public static RmaPointer<T> operator -(RmaPointer<T> pointer, long elements) => pointer.Subtract(elements);

    /// <summary>How many elements lie between two pointers into one buffer.</summary>
    public static long operator -(RmaPointer<T> left, RmaPointer<T> right) => left.Subtract(right);

    /// <summary>Moves forward by one element.</summary>
    public static RmaPointer<T> operator ++(RmaPointer<T> pointer) => pointer.Add(1);

    /// <summary>Moves back by one element.</summary>
    public static RmaPointer<T> operator --(RmaPointer<T> pointer) => pointer.Subtract(1);

    /// <summary>Moves forward by one element.</summary>
    public RmaPointer<T> Increment() => Add(1);

    /// <summary>Moves back by one element.</summary>
    public RmaPointer<T> Decrement() => Subtract(1);

    /// <summary>True when both point to the same place of the same lease.</summary>
    public static bool operator ==(RmaPointer<T> left, RmaPointer<T> right) => left.Equals(right);

    /// <summary>False when both point to the same place of the same lease.</summary>
    public static bool operator !=(RmaPointer<T> left, RmaPointer<T> right) => !left.Equals(right);

    /// <summary>True when the left one points to a lower place.</summary>
    public static bool operator <(RmaPointer<T> left, RmaPointer<T> right) => left.CompareTo(right) < 0;

    /// <summary>True when the left one points to a higher place.</summary>
    public static bool operator >(RmaPointer<T> left, RmaPointer<T> right) => left.CompareTo(right) > 0;

    /// <summary>True when the left one does not point to a higher place.</summary>
    public static bool operator <=(RmaPointer<T> left, RmaPointer<T> right) => left.CompareTo(right) <= 0;

    /// <summary>True when the left one does not point to a lower place.</summary>
    public static bool operator >=(RmaPointer<T> left, RmaPointer<T> right) => left.CompareTo(right) >= 0;

    /// <summary>Returns the same place as a read-only pointer.</summary>
    public static implicit operator RmaReadOnlyPointer<T>(RmaPointer<T> pointer) => pointer.AsReadOnly();

    /// <summary>Names the byte and the buffer.</summary>
    public override string ToString() => IsNull ? "null" : $"pointer to {typeof(T).Name} at offset {InWords.Number(_offset)} of a {_buffer}";

    /// <summary>Returns the number of bytes of elements from here on, which must lie within the buffer.</summary>
    private long BytesOf(long count)
    {
        long bytes = checked(count * sizeof(T));
        RangeCheck.ThrowIfOutside(_offset, bytes, _buffer.Length, nameof(count), nameof(count));
        return bytes;
    }

    /// <summary>Returns the result of pointer arithmetic.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private RmaPointer<T> MoveTo(long offset, long elements)
    {
        if ((IsAlwaysChecked || _buffer.IsDefaultOrChecksPointers) && elements != 0)
            Check(_buffer, offset, nameof(elements));
        return new RmaPointer<T>(offset, _buffer);
    }

    // The pointer is passed by value: an instance method would need its address, and loops would then keep the pointer in memory.
    private static void Check(RmaBuffer buffer, long offset, string parameter)
    {
        if (buffer.IsDefault)
            throw new InvalidOperationException("A null pointer can't be moved: it points into no buffer.");
        if ((ulong)offset > (ulong)buffer.Length)
            throw new ArgumentOutOfRangeException(parameter, $"The pointer would leave its buffer: offset {InWords.Number(offset)} is beyond its {InWords.Bytes(buffer.Length)}.");
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref T At(long offset, string parameter)
    {
        nint address = _buffer.Address;
        RangeCheck.ThrowIfOutside(offset, sizeof(T), _buffer.Length, parameter, parameter);
        return ref *(T*)(address + (nint)offset);
    }
}
