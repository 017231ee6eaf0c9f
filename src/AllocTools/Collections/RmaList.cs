using System.Collections;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>
/// A list in registered memory: it grows as <see cref="List{T}"/> does, and its elements go into operations and out of them
/// without a copy. It may have more elements than an <see cref="int"/> counts. Disposing it returns the memory to its pool.
/// </summary>
/// <typeparam name="T">The element. Peers see its bytes as this processor has them.</typeparam>
/// <remarks>
/// <para>
/// To grow it rents a buffer of twice the capacity, copies the elements, and returns the old buffer. What was made of the old
/// one (slices, pointers, memory) throws from then on; only a span or a reference that was taken before can't be caught.
/// </para>
/// <para>
/// While an operation, an exposure or a pin holds the memory, what would have to grow throws instead: a peer would go on with
/// the old buffer, and what a read brings would be lost there. So await operations first, or see to the capacity before
/// (<see cref="EnsureCapacity"/>). Whatever fits the capacity is done all the same. An operation that timed out hinders nothing.
/// </para>
/// <para>As <see cref="List{T}"/>, it is safe to read from several threads, and is changed by one at a time.</para>
/// </remarks>
/// <example>
/// <code>
/// using RmaList&lt;long&gt; found = new(pool);
/// for (long i = 0; i &lt; 1000; i++)
///     found.Add(i * i);
/// await endpoint.WriteAsync(found.Slice(0, found.Count), remote, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed unsafe class RmaList<T> : IList<T>, IReadOnlyList<T>, IDisposable
    where T : unmanaged
{
    private const int FirstBytes = 1024;

    private readonly IRmaMemoryPool _pool;
    private RmaBuffer _buffer;
    private long _count;
    private int _version;
    private bool _isDisposed;

    // 0 <= _count <= Capacity; a buffer is rented where Capacity is more than 0, and until the list is disposed.

    /// <summary>Makes an empty list.</summary>
    /// <param name="pool">Where the memory comes from.</param>
    /// <param name="capacity">Elements for which memory is rented now; 0: when the first is added.</param>
    /// <exception cref="ArgumentOutOfRangeException">The capacity is negative, or more than the pool's cap has room for.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    public RmaList(IRmaMemoryPool pool, long capacity = 0)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        _pool = pool;
        if (capacity == 0)
            return;
        _buffer = ElementMemory.Rent<T>(pool, capacity, nameof(capacity));
        Capacity = capacity;
    }

    /// <summary>How many elements there are.</summary>
    public long Count => _count;

    /// <summary>How many elements there may be before it has to grow.</summary>
    public long Capacity { get; private set; }

    /// <summary>All elements, until the list is next changed.</summary>
    /// <exception cref="InvalidOperationException">They are more than a span can have (2^31 - 1): use <see cref="GetSpan"/>.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public Span<T> Span => ElementMemory.SpanOf<T>(Address(), _count);

    /// <summary>An element, until the list is next changed.</summary>
    /// <param name="index">From 0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public ref T this[long index]
    {
        get
        {
            if ((ulong)index >= (ulong)_count)
                ThrowIndex(index);
            return ref ((T*)_buffer.Address)[index];
        }
    }

    T IList<T>.this[int index]
    {
        get => this[index];
        set
        {
            this[index] = value;
            _version++;
        }
    }

    T IReadOnlyList<T>.this[int index] => this[index];

    int ICollection<T>.Count => ElementMemory.CountOf(_count);

    int IReadOnlyCollection<T>.Count => ElementMemory.CountOf(_count);

    bool ICollection<T>.IsReadOnly => false;

    /// <summary>Adds an element at the end.</summary>
    /// <param name="item">The element.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void Add(T item)
    {
        if (_count == Capacity)
            Grow(_count + 1, _count, default, nameof(item));
        ((T*)Address())[_count] = item;
        _count++;
        _version++;
    }

    /// <summary>Adds elements at the end.</summary>
    /// <param name="items">The elements; they may be the list's own.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void AddRange(ReadOnlySpan<T> items) => InsertRange(_count, items);

    /// <summary>Adds elements at the end.</summary>
    /// <param name="items">The elements. Where going through them throws, those before are there.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void AddRange(IEnumerable<T> items)
    {
        ArgumentNullException.ThrowIfNull(items);
        foreach (T item in items)
            Add(item);
    }

    /// <summary>Puts an element before another one.</summary>
    /// <param name="index">From 0 to <see cref="Count"/>.</param>
    /// <param name="item">The element.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is out of the list.</exception>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void Insert(long index, T item) => InsertRange(index, new ReadOnlySpan<T>(in item));

    void IList<T>.Insert(int index, T item) => Insert(index, item);

    /// <summary>Puts elements before another one.</summary>
    /// <param name="index">From 0 to <see cref="Count"/>.</param>
    /// <param name="items">The elements; they may be the list's own.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is out of the list.</exception>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void InsertRange(long index, ReadOnlySpan<T> items)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ElementMemory.ThrowIfOutside(index, 0, _count, nameof(index), nameof(index));
        if (items.IsEmpty)
            return;
        // The list's own elements must not move before they are copied.
        if (_count + items.Length > Capacity || (index < _count && IsOwn(items)))
            Grow(_count + items.Length, index, items, nameof(items));
        else
        {
            Move(index, index + items.Length, _count - index);
            items.CopyTo(new Span<T>((T*)Address() + index, items.Length));
        }
        _count += items.Length;
        _version++;
    }

    /// <summary>Removes the first element that is equal to another one.</summary>
    /// <param name="item">What is looked for.</param>
    /// <returns>Whether there was one.</returns>
    public bool Remove(T item)
    {
        long index = IndexOf(item);
        if (index >= 0)
            RemoveRange(index, 1);
        return index >= 0;
    }

    /// <summary>Removes an element.</summary>
    /// <param name="index">From 0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public void RemoveAt(long index)
    {
        if ((ulong)index >= (ulong)_count)
            ThrowIndex(index);
        RemoveRange(index, 1);
    }

    void IList<T>.RemoveAt(int index) => RemoveAt(index);

    /// <summary>Removes elements. The memory stays.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the list.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public void RemoveRange(long start, long count)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ElementMemory.ThrowIfOutside(start, count, _count, nameof(start), nameof(count));
        Move(start + count, start, _count - start - count);
        _count -= count;
        _version++;
    }

    /// <summary>Removes all elements. The memory stays; <see cref="TrimExcess"/> returns it.</summary>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public void Clear() => RemoveRange(0, _count);

    /// <summary>Makes it so long: elements beyond are removed, new ones are zero, for a read to fill.</summary>
    /// <param name="count">Elements, 0 or more.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception"/>
    public void SetCount(long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (count > Capacity)
            Grow(count, _count, default, nameof(count));
        if (count > _count)
            NativeMemory.Clear((T*)Address() + _count, (nuint)((count - _count) * sizeof(T)));
        _count = count;
        _version++;
    }

    /// <summary>Sees to it that it need not grow before it has so many elements.</summary>
    /// <param name="capacity">Elements, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">They are negative, or more than the pool's cap has room for.</exception>
    /// <exception cref="InvalidOperationException">It must grow, and an operation, an exposure or a pin holds its memory; nothing was changed.</exception>
    /// <exception cref="RmaPoolExhaustedException">It must grow, and the cap leaves no room; nothing was changed.</exception>
    /// <exception cref="RmaRegistrationException">It must grow, and more memory could not be registered; nothing was changed.</exception>
    /// <exception cref="ObjectDisposedException">The list or its pool is disposed.</exception>
    public void EnsureCapacity(long capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (capacity > Capacity)
            Grow(capacity, _count, default, nameof(capacity));
    }

    /// <summary>Rents a smaller buffer where one is enough, and returns the old one.</summary>
    /// <exception cref="InvalidOperationException">An operation, an exposure or a pin holds the memory; nothing was changed.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room for both; nothing was changed.</exception>
    /// <exception cref="ObjectDisposedException">The list or its pool is disposed.</exception>
    public void TrimExcess()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_count == Capacity)
            return;
        ThrowIfInUse("be trimmed", _count);
        if (_count == 0)
        {
            _buffer.Return();
            _buffer = default;
            Capacity = 0;
        }
        else
        {
            Replace(ElementMemory.Rent<T>(_pool, _count, nameof(Count)), _count, _count, default);
        }
    }

    /// <summary>Some elements, until the list is next changed.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, up to 2^31 - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the list.</exception>
    /// <exception cref="InvalidOperationException">They are more than a span can have.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public Span<T> GetSpan(long start, long count)
    {
        nint address = Address();
        ElementMemory.ThrowIfOutside(start, count, _count, nameof(start), nameof(count));
        return ElementMemory.SpanOf<T>(address + (nint)(start * sizeof(T)), count);
    }

    /// <summary>Elements for an operation. Until it has ended the list does not grow.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the list.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public RmaSlice Slice(long start, long count)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ElementMemory.ThrowIfOutside(start, count, _count, nameof(start), nameof(count));
        return _buffer.Slice(start * sizeof(T), count * sizeof(T));
    }

    /// <summary>Lets peers reach elements. Until it is disposed the list does not grow.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, 1 or more.</param>
    /// <param name="access">What they may do.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(long start, long count, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        RmaSlice slice = Slice(start, count);
        return _buffer.Expose(slice.Offset, slice.Length, access);
    }

    /// <summary>Looks for an element, with the type's default comparison.</summary>
    /// <param name="item">What is looked for.</param>
    /// <returns>The index of the first one that is equal; -1 where there is none.</returns>
    public long IndexOf(T item)
    {
        nint address = Address();
        for (long start = 0; start < _count; start += int.MaxValue)
        {
            int found = new ReadOnlySpan<T>((T*)address + start, (int)Math.Min(int.MaxValue, _count - start)).IndexOf(item);
            if (found >= 0)
                return start + found;
        }
        return -1;
    }

    int IList<T>.IndexOf(T item)
    {
        _ = ElementMemory.CountOf(_count);
        return (int)IndexOf(item);
    }

    /// <summary>Whether there is an element that is equal to another one.</summary>
    /// <param name="item">What is looked for.</param>
    public bool Contains(T item) => IndexOf(item) >= 0;

    /// <summary>Copies all elements.</summary>
    /// <param name="array">Where to.</param>
    /// <param name="arrayIndex">The first one's index there.</param>
    public void CopyTo(T[] array, int arrayIndex) => Span.CopyTo(array.AsSpan(arrayIndex));

    /// <summary>Goes through the elements by reference, without allocating. The list must not be changed meanwhile.</summary>
    public Enumerator GetEnumerator() => new(this);

    IEnumerator<T> IEnumerable<T>.GetEnumerator()
    {
        foreach (T item in this)
            yield return item;
    }

    IEnumerator IEnumerable.GetEnumerator() => ((IEnumerable<T>)this).GetEnumerator();

    /// <summary>Returns the memory, as <see cref="RmaBuffer.Dispose"/> does; a second call does nothing.</summary>
    /// <exception cref="InvalidOperationException">The memory is pinned, and stays rented; or the buffer was returned past the list.</exception>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        _buffer.Dispose();
        _isDisposed = true;
        _count = 0;
        Capacity = 0;
    }

    /// <summary>How many elements of what, and in which buffer.</summary>
    public override string ToString() => $"list of {InWords.Number(_count)} {typeof(T).Name} in {(Capacity == 0 ? "no buffer" : $"a {_buffer}")}";

    /// <summary>Moves the elements into a larger buffer, with others among them.</summary>
    private void Grow(long needed, long index, ReadOnlySpan<T> items, string parameter)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ThrowIfInUse("grow", needed);
        long wanted = Math.Max(Math.Max(needed, FirstBytes / sizeof(T)), Capacity <= long.MaxValue / 2 / sizeof(T) ? 2 * Capacity : needed);
        RmaBuffer larger;
        if (wanted == needed || !TryRent(wanted, out larger))
        {
            wanted = needed;
            larger = ElementMemory.Rent<T>(_pool, needed, parameter);
        }
        Replace(larger, wanted, index, items);
    }

    /// <summary>More than is needed, where there is room for that.</summary>
    private bool TryRent(long wanted, out RmaBuffer buffer)
    {
        try
        {
            return _pool.TryRent(ElementMemory.BytesOf<T>(wanted, nameof(wanted)), out buffer);
        }
        catch (ArgumentOutOfRangeException)
        {
            // Over the pool's cap.
            buffer = default;
            return false;
        }
    }

    /// <summary>Goes over to another buffer, which is returned where that fails. The elements that come in may lie in the old one.</summary>
    private void Replace(RmaBuffer buffer, long capacity, long index, ReadOnlySpan<T> items)
    {
        try
        {
            T* target = (T*)buffer.Address;
            if (Capacity > 0)
            {
                T* source = (T*)_buffer.Address;
                Copy(source, target, index);
                Copy(source + index, target + index + items.Length, _count - index);
            }
            items.CopyTo(new Span<T>(target + index, items.Length));
            if (Capacity > 0)
                _buffer.Return();
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
        _buffer = buffer;
        Capacity = capacity;
    }

    private void ThrowIfInUse(string what, long count)
    {
        if (_buffer.IsRented && _buffer.IsInUse)
            throw new InvalidOperationException(
                $"The list can't {what} from room for {InWords.Count(Capacity, "element", "elements")} to {InWords.Number(count)}: an operation, an exposure or a pin holds its memory, and would stay with the old one. Await its operations, and dispose its exposures and memory handles first; or call EnsureCapacity before they begin.");
    }

    private bool IsOwn(ReadOnlySpan<T> items)
    {
        nint first = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(items));
        nint address = Address();
        return first >= address && first < address + (nint)(Capacity * sizeof(T));
    }

    private void Move(long from, long to, long count)
    {
        T* elements = (T*)Address();
        Copy(elements + from, elements + to, count);
    }

    /// <summary>The two may overlap.</summary>
    private static void Copy(T* source, T* target, long count) => Buffer.MemoryCopy(source, target, count * sizeof(T), count * sizeof(T));

    /// <summary>Where the elements are; anywhere where there is room for none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private nint Address()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return Capacity == 0 ? 0 : _buffer.Address;
    }

    private void ThrowIndex(long index)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ElementMemory.ThrowIndex(index, _count);
    }

    /// <summary>Goes through the elements of a list.</summary>
    public struct Enumerator
    {
        private readonly RmaList<T> _list;
        private readonly int _version;
        private long _index;

        internal Enumerator(RmaList<T> list)
        {
            _list = list;
            _version = list._version;
            _index = -1;
        }

        /// <summary>The element, by reference.</summary>
        public readonly ref T Current => ref _list[_index];

        /// <summary>Goes to the next element.</summary>
        /// <returns>False after the last one.</returns>
        /// <exception cref="InvalidOperationException">The list was changed meanwhile.</exception>
        public bool MoveNext()
        {
            if (_version != _list._version)
                throw new InvalidOperationException("The list was changed while its elements were gone through.");
            return ++_index < _list._count;
        }
    }
}
