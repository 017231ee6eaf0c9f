using System.Buffers;
using System.Collections;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Collections;

/// <summary>
/// An array in registered memory: operations read and write its elements without a copy. Its length is fixed, and may
/// exceed 2 GiB. Disposing it returns the memory to its pool.
/// </summary>
/// <typeparam name="T">The element. Peers see its bytes in the layout of this processor.</typeparam>
/// <remarks>
/// <para>
/// It is one object in addition to the lease of an <see cref="RmaBuffer"/>, and follows the same rules: each access
/// checks the lease, so use after disposal throws; if an operation or an exposure holds the array when it is disposed,
/// the memory comes back when the last of them ends; while it is pinned, it can't be disposed. Only the use of a span
/// that was taken earlier can't be detected.
/// </para>
/// <para>
/// The indexer checks lease and bounds each time. Loops over many elements take <see cref="Span"/> once, which is also what
/// <c>System.Numerics.Tensors</c> works on: <c>new TensorSpan&lt;float&gt;(array.Span)</c>.
/// </para>
/// <para>Elements are safe to read from several threads; code that writes them while others read must synchronize.</para>
/// </remarks>
/// <example>
/// <code>
/// using RmaArray&lt;float&gt; weights = new(pool, 1024);
/// weights.Span.Fill(0.5f);
/// weights[17] = 1;
/// await endpoint.WriteAsync(weights, remote.Slice(0, 4096), cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed unsafe class RmaArray<T> : IReadOnlyList<T>, IDisposable
    where T : unmanaged
{
    private readonly RmaBuffer _buffer;
    private int _isDisposed;

    /// <summary>Rents memory for elements.</summary>
    /// <param name="pool">Where the memory comes from.</param>
    /// <param name="length">Elements, 1 or more.</param>
    /// <param name="zeroed">Whether they are initially zero; otherwise their values are undefined.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is 0 or less, or exceeds the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    public RmaArray(IRmaMemoryPool pool, long length, bool zeroed = true)
        : this(Rent(pool, length), length, zeroed)
    {
    }

    /// <summary>Takes over a buffer, such as registered memory of the caller, with as many elements as fit into it.</summary>
    /// <param name="buffer">
    /// A rented buffer, which the array disposes; if the constructor throws, the caller still owns it. Memory of the
    /// caller may begin at any address: if it is not aligned for the elements, atomic operations on them
    /// (<see cref="Interlocked"/>) can't be relied on.
    /// </param>
    /// <exception cref="ArgumentException">It is shorter than one element, or it is read-only.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public RmaArray(RmaBuffer buffer)
    {
        _ = buffer.Address;
        if (buffer.Length < sizeof(T))
            throw new ArgumentException($"The {buffer} is shorter than one element ({sizeof(T)} bytes).", nameof(buffer));
        if (buffer.IsReadOnly)
            throw new ArgumentException($"The {buffer} is read-only, but an array needs writable memory; read from the buffer's Span instead.", nameof(buffer));
        _buffer = buffer;
        Length = buffer.Length / sizeof(T);
    }

    internal RmaArray(RmaBuffer buffer, long length, bool zeroed)
    {
        _buffer = buffer;
        Length = length;
        if (zeroed)
            Clear();
    }

    /// <summary>Elements.</summary>
    public long Length { get; }

    /// <summary>The memory. The array disposes it.</summary>
    public RmaBuffer Buffer => _buffer;

    /// <summary>All elements.</summary>
    /// <exception cref="InvalidOperationException">The array was disposed, or has more elements than a span can have
    /// (2^31 - 1): use <see cref="GetSpan"/>.</exception>
    public Span<T> Span => ElementMemory.SpanOf<T>(_buffer.Address, Length);

    /// <summary>
    /// All elements for asynchronous calls. Each call creates a small object that keeps checking the lease; while it is
    /// pinned, the array can't be disposed. For bytes it is memory like <see cref="RmaBuffer.Memory"/>, and
    /// <see cref="RmaSlice.TryGet(ReadOnlyMemory{byte}, out RmaSlice)"/> finds the buffer again.
    /// </summary>
    /// <exception cref="InvalidOperationException">The array was disposed, or has more elements than a Memory can have
    /// (2^31 - 1).</exception>
    public Memory<T> Memory
    {
        get
        {
            RmaSlice elements = Slice(0, Span.Length);
            if (typeof(T) != typeof(byte))
                return new ElementMemoryManager<T>(elements).Memory;
            Memory<byte> bytes = elements.Memory;
            return Unsafe.As<Memory<byte>, Memory<T>>(ref bytes);
        }
    }

    /// <summary>Gets a reference to an element.</summary>
    /// <param name="index">From 0 to <see cref="Length"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="InvalidOperationException">The array was disposed.</exception>
    [OverloadResolutionPriority(1)]
    public ref T this[long index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            T* elements = (T*)_buffer.Address;
            if ((ulong)index >= (ulong)Length)
                ElementMemory.ThrowIndex(index, Length);
            return ref elements[index];
        }
    }

    /// <summary>Gets a reference to an element, such as <c>array[^1]</c>.</summary>
    /// <param name="index">The index of the element.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="InvalidOperationException">The array was disposed.</exception>
    public ref T this[Index index] => ref this[index.IsFromEnd ? Length - index.Value : (long)index.Value];

    /// <summary>Gets elements for an operation, such as <c>array[..100]</c>.</summary>
    /// <param name="range">Which elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range exceeds the array, or ends before it starts.</exception>
    public RmaSlice this[Range range]
    {
        get
        {
            long start = range.Start.IsFromEnd ? Length - range.Start.Value : range.Start.Value;
            long end = range.End.IsFromEnd ? Length - range.End.Value : range.End.Value;
            ElementMemory.ThrowIfOutside(start, end - start, Length, nameof(range), nameof(range));
            return Slice(start, end - start);
        }
    }

    int IReadOnlyCollection<T>.Count => ElementMemory.CountOf(Length);

    T IReadOnlyList<T>.this[int index] => this[(long)index];

    /// <summary>Returns some elements.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, up to 2^31 - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the array.</exception>
    /// <exception cref="InvalidOperationException">The array was disposed, or they are more than a span can have.</exception>
    public Span<T> GetSpan(long start, long count)
    {
        nint address = _buffer.Address;
        ElementMemory.ThrowIfOutside(start, count, Length, nameof(start), nameof(count));
        return ElementMemory.SpanOf<T>(address + (nint)(start * sizeof(T)), count);
    }

    /// <summary>Returns elements for an operation.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the array.</exception>
    public RmaSlice Slice(long start, long count)
    {
        ElementMemory.ThrowIfOutside(start, count, Length, nameof(start), nameof(count));
        return _buffer.Slice(start * sizeof(T), count * sizeof(T));
    }

    /// <summary>Returns the rest of the elements for an operation.</summary>
    /// <param name="start">The first one's index.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is beyond the end.</exception>
    public RmaSlice Slice(long start)
    {
        ElementMemory.ThrowIfOutside(start, 0, Length, nameof(start), nameof(start));
        return Slice(start, Length - start);
    }

    /// <summary>Returns a pointer to an element, or to the end.</summary>
    /// <param name="index">From 0 to <see cref="Length"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is outside the array.</exception>
    /// <exception cref="InvalidOperationException">The array was disposed.</exception>
    public RmaPointer<T> AsPointer(long index = 0)
    {
        ElementMemory.ThrowIfOutside(index, 0, Length, nameof(index), nameof(index));
        return new RmaPointer<T>(_buffer, index * sizeof(T));
    }

    /// <summary>Gives peers access to all elements.</summary>
    /// <param name="access">The access to grant.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(RmaAccess access) => Expose(0, Length, access);

    /// <summary>Gives peers access to some elements.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, 1 or more.</param>
    /// <param name="access">The access to grant.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(long start, long count, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ElementMemory.ThrowIfOutside(start, count, Length, nameof(start), nameof(count));
        return _buffer.Expose(start * sizeof(T), count * sizeof(T), access);
    }

    /// <summary>Sets all elements to zero.</summary>
    /// <exception cref="InvalidOperationException">The array was disposed.</exception>
    public void Clear() => NativeMemory.Clear((void*)_buffer.Address, (nuint)(Length * sizeof(T)));

    /// <summary>Sets all elements to one value.</summary>
    /// <param name="value">The value.</param>
    /// <exception cref="InvalidOperationException">The array was disposed.</exception>
    public void Fill(T value)
    {
        for (long start = 0; start < Length; start += int.MaxValue)
            GetSpan(start, Math.Min(int.MaxValue, Length - start)).Fill(value);
    }

    /// <summary>Enumerates the elements by reference, without allocating.</summary>
    public Enumerator GetEnumerator() => new(this);

    IEnumerator<T> IEnumerable<T>.GetEnumerator()
    {
        for (long i = 0; i < Length; i++)
            yield return this[i];
    }

    IEnumerator IEnumerable.GetEnumerator() => ((IEnumerable<T>)this).GetEnumerator();

    /// <summary>Returns the memory, as <see cref="RmaBuffer.Dispose"/> does; a second call does nothing.</summary>
    /// <exception cref="InvalidOperationException">The memory is pinned, and stays rented; or the buffer was returned
    /// without the array.</exception>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        try
        {
            _buffer.Dispose();
        }
        catch when (_buffer.IsRented)
        {
            // The array can be disposed after the pin has ended.
            Volatile.Write(ref _isDisposed, 0);
            throw;
        }
    }

    /// <summary>Returns the element type, the length, and the buffer.</summary>
    public override string ToString() => $"{typeof(T).Name}[{Length}] in a {_buffer}";

    /// <summary>Returns all elements as a slice, for operations.</summary>
    /// <param name="array">The array.</param>
    public static implicit operator RmaSlice(RmaArray<T> array)
    {
        ArgumentNullException.ThrowIfNull(array);
        return array.Slice(0, array.Length);
    }

    /// <summary>Returns all elements as a slice, for operations.</summary>
    public RmaSlice ToRmaSlice() => this;

    private static RmaBuffer Rent(IRmaMemoryPool pool, long length)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return ElementMemory.Rent<T>(pool, length, nameof(length));
    }

    /// <summary>Enumerates the elements of an array.</summary>
    public struct Enumerator
    {
        private readonly RmaArray<T> _array;
        private long _index;

        internal Enumerator(RmaArray<T> array)
        {
            _array = array;
            _index = -1;
        }

        /// <summary>The element, by reference.</summary>
        public readonly ref T Current => ref _array[_index];

        /// <summary>Moves to the next element.</summary>
        /// <returns>False after the last one.</returns>
        public bool MoveNext() => ++_index < _array.Length;
    }
}
