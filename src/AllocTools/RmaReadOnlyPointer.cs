using System.Diagnostics.CodeAnalysis;

namespace AllocTools;

/// <summary>
/// A fancy pointer to memory that must not be changed, like a <c>const T*</c>. An <see cref="RmaPointer{T}"/> converts
/// to it, but not the other way round. Arithmetic and comparison work like those of the pointer.
/// </summary>
/// <typeparam name="T">What it points to.</typeparam>
/// <remarks>
/// A pointer is a value without ownership: it becomes invalid with the lease that it points into. The default value is
/// the null pointer.
/// </remarks>
/// <param name="pointer">The same place.</param>
public readonly unsafe struct RmaReadOnlyPointer<T>(RmaPointer<T> pointer) : IEquatable<RmaReadOnlyPointer<T>>, IComparable<RmaReadOnlyPointer<T>>
    where T : unmanaged
{
    private readonly RmaPointer<T> _pointer = pointer;

    /// <summary>The null pointer.</summary>
    [SuppressMessage("Design", "CA1000", Justification = "As IntPtr.Zero; a pointer's type is always at hand where one is needed.")]
    public static RmaReadOnlyPointer<T> Null => default;

    /// <inheritdoc cref="RmaPointer{T}.IsNull"/>
    public bool IsNull => _pointer.IsNull;

    /// <inheritdoc cref="RmaPointer{T}.ByteOffset"/>
    public long ByteOffset => _pointer.ByteOffset;

    /// <inheritdoc cref="RmaPointer{T}.Value"/>
    public ref readonly T Value => ref _pointer.Value;

    /// <inheritdoc cref="RmaPointer{T}.LocalDescriptor"/>
    public nint LocalDescriptor => _pointer.LocalDescriptor;

    /// <inheritdoc cref="RmaPointer{T}.this"/>
    public ref readonly T this[long index] => ref _pointer[index];

    /// <inheritdoc cref="RmaPointer{T}.AsSpan"/>
    public ReadOnlySpan<T> AsSpan(int count) => _pointer.AsSpan(count);

    /// <summary>
    /// Returns elements from here on, for an operation that writes or sends them. The type does not prevent a read from
    /// using them as its destination.
    /// </summary>
    /// <param name="count">Elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the buffer.</exception>
    public RmaSlice Slice(long count) => _pointer.Slice(count);

    /// <summary>Lets peers read elements from here on.</summary>
    /// <param name="count">Elements.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(long count) => _pointer.Expose(count, RmaAccess.RemoteRead);

    /// <inheritdoc cref="RmaPointer{T}.Cast"/>
    public RmaReadOnlyPointer<TOther> Cast<TOther>()
        where TOther : unmanaged => new(_pointer.Cast<TOther>());

    /// <inheritdoc cref="RmaPointer{T}.PointerTo"/>
    public RmaReadOnlyPointer<TMember> PointerTo<TMember>(ref readonly TMember member)
        where TMember : unmanaged => new(_pointer.PointerTo(in member));

    /// <inheritdoc cref="RmaPointer{T}.Add"/>
    public RmaReadOnlyPointer<T> Add(long elements) => new(_pointer.Add(elements));

    /// <inheritdoc cref="RmaPointer{T}.Subtract(long)"/>
    public RmaReadOnlyPointer<T> Subtract(long elements) => new(_pointer.Subtract(elements));

    /// <inheritdoc cref="RmaPointer{T}.Subtract(RmaPointer{T})"/>
    public long Subtract(RmaReadOnlyPointer<T> other) => _pointer.Subtract(other._pointer);

    /// <summary>Moves forward by one element.</summary>
    public RmaReadOnlyPointer<T> Increment() => Add(1);

    /// <summary>Moves back by one element.</summary>
    public RmaReadOnlyPointer<T> Decrement() => Subtract(1);

    /// <inheritdoc/>
    public int CompareTo(RmaReadOnlyPointer<T> other) => _pointer.CompareTo(other._pointer);

    /// <inheritdoc/>
    public bool Equals(RmaReadOnlyPointer<T> other) => _pointer.Equals(other._pointer);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is RmaReadOnlyPointer<T> other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => _pointer.GetHashCode();

    /// <summary>Names the byte and the buffer.</summary>
    public override string ToString() => IsNull ? "null" : $"read-only {_pointer}";

    /// <summary>Moves forward.</summary>
    public static RmaReadOnlyPointer<T> operator +(RmaReadOnlyPointer<T> pointer, long elements) => pointer.Add(elements);

    /// <summary>Moves back.</summary>
    public static RmaReadOnlyPointer<T> operator -(RmaReadOnlyPointer<T> pointer, long elements) => pointer.Subtract(elements);

    /// <summary>How many elements lie between two pointers into one buffer.</summary>
    public static long operator -(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.Subtract(right);

    /// <summary>Moves forward by one element.</summary>
    public static RmaReadOnlyPointer<T> operator ++(RmaReadOnlyPointer<T> pointer) => pointer.Add(1);

    /// <summary>Moves back by one element.</summary>
    public static RmaReadOnlyPointer<T> operator --(RmaReadOnlyPointer<T> pointer) => pointer.Subtract(1);

    /// <summary>True when both point to the same place of the same lease.</summary>
    public static bool operator ==(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.Equals(right);

    /// <summary>False when both point to the same place of the same lease.</summary>
    public static bool operator !=(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => !left.Equals(right);

    /// <summary>True when the left one points to a lower place.</summary>
    public static bool operator <(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.CompareTo(right) < 0;

    /// <summary>True when the left one points to a higher place.</summary>
    public static bool operator >(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.CompareTo(right) > 0;

    /// <summary>True when the left one does not point to a higher place.</summary>
    public static bool operator <=(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.CompareTo(right) <= 0;

    /// <summary>True when the left one does not point to a lower place.</summary>
    public static bool operator >=(RmaReadOnlyPointer<T> left, RmaReadOnlyPointer<T> right) => left.CompareTo(right) >= 0;
}
