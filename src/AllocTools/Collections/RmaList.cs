using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>
/// A list in registered memory: it grows like <see cref="List{T}"/>, and operations read and write its elements without
/// a copy. It may have more elements than an <see cref="int"/> can count. Disposing it returns the memory to its pool.
/// </summary>
/// <typeparam name="T">The element. Peers see its bytes in the layout of this processor.</typeparam>
/// <remarks>
/// <para>
/// To grow, it rents a buffer of twice the capacity (or less if the cap leaves no room for that), copies the elements,
/// and returns the old buffer. Slices, pointers and memory of the old buffer throw from then on; only the use of a span
/// or a reference that was taken earlier can't be detected.
/// </para>
/// <para>
/// While an operation, an exposure or a pin holds the memory, calls that would have to grow the list throw instead: a
/// peer would keep using the old buffer, and the result of a read would be lost there. So await operations first, or
/// ensure the capacity in advance (<see cref="EnsureCapacity"/>). Changes that fit the capacity are still possible. An
/// operation that timed out does not prevent growth.
/// </para>
/// <para>Like <see cref="List{T}"/>, it is safe to read from several threads, and must be changed by one thread at a time.</para>
/// </remarks>
/// <example>
/// <code>
/// using RmaList&lt;long&gt; found = new(pool);
/// for (long i = 0; i &lt; 1000; i++)
///     found.Add(i * i);
/// await endpoint.WriteAsync(found.Slice(0, found.Count), remote, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed unsafe partial class RmaList<T> : IList<T>, IReadOnlyList<T>, IDisposable
    where T : unmanaged
{
    private const int FirstBytes = 1024;

    private readonly IRmaMemoryPool _pool;
    private RmaBuffer _buffer;
    private long _count;
    private int _version;
    private bool _isDisposed;

    // 0 <= _count <= Capacity; a buffer is rented while Capacity is more than 0 and the list is not disposed.

    /// <summary>Creates an empty list.</summary>
    /// <param name="pool">Where the memory comes from.</param>
    /// <param name="capacity">The number of elements for which memory is rented immediately; 0: memory is rented when
    /// the first element is added.</param>
    /// <exception cref="ArgumentOutOfRangeException">The capacity is negative, or exceeds the pool's cap.</exception>
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

    /// <summary>The number of elements.</summary>
    public long Count => _count;

    /// <summary>The number of elements that fit before the list has to grow.</summary>
    public long Capacity { get; private set; }

    /// <summary>All elements, until the list is next changed.</summary>
    /// <exception cref="InvalidOperationException">There are more elements than a span can have (2^31 - 1): use
    /// <see cref="GetSpan"/>.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public Span<T> Span => ElementMemory.SpanOf<T>(Address(), _count);

    /// <summary>Gets or sets an element, by value. The expression that computes a stored element may change the list.</summary>
    /// <param name="index">From 0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public T this[long index]
    {
        get => GetReference(index);
        set
        {
            GetReference(index) = value;
            _version++;
        }
    }

    /// <summary>
    /// Returns an element by reference, to change it in place. The list must not be changed while the reference is
    /// used, because the reference could then point to memory of another owner.
    /// </summary>
    /// <param name="index">From 0 to <see cref="Count"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such element.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public ref T GetReference(long index)
    {
        if ((ulong)index >= (ulong)_count)
            ThrowIndex(index);
        return ref ((T*)_buffer.Address)[index];
    }

    /// <summary>Adds an element at the end.</summary>
    /// <param name="item">The element.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception[@cref!='T:System.ArgumentOutOfRangeException']"/>
    public void Add(T item)
    {
        if (_count == Capacity)
            Grow(_count + 1, _count, default);
        ((T*)Address())[_count] = item;
        _count++;
        _version++;
    }

    /// <summary>Adds elements at the end.</summary>
    /// <param name="items">The elements; they may be the list's own.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception[@cref!='T:System.ArgumentOutOfRangeException']"/>
    public void AddRange(ReadOnlySpan<T> items) => InsertRange(_count, items);

    /// <summary>Adds elements at the end.</summary>
    /// <param name="items">The elements; they may be the list itself. If enumerating them throws, the earlier ones have been added.</param>
    /// <inheritdoc cref="EnsureCapacity" path="/exception[@cref!='T:System.ArgumentOutOfRangeException']"/>
    public void AddRange(IEnumerable<T> items)
    {
        ArgumentNullException.ThrowIfNull(items);
        if (ReferenceEquals(items, this))
        {
            AddItself();
            return;
        }
        foreach (T item in items)
            Add(item);
    }

    /// <summary>Inserts an element before another one.</summary>
    /// <param name="index">From 0 to <see cref="Count"/>.</param>
    /// <param name="item">The element.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is outside the list.</exception>
    /// <inheritdoc cref="EnsureCapacity" path="/exception[@cref!='T:System.ArgumentOutOfRangeException']"/>
    public void Insert(long index, T item) => InsertRange(index, new ReadOnlySpan<T>(in item));

    /// <summary>Inserts elements before another one.</summary>
    /// <param name="index">From 0 to <see cref="Count"/>.</param>
    /// <param name="items">The elements; they may be the list's own.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is outside the list.</exception>
    /// <inheritdoc cref="EnsureCapacity" path="/exception[@cref!='T:System.ArgumentOutOfRangeException']"/>
    public void InsertRange(long index, ReadOnlySpan<T> items)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ElementMemory.ThrowIfOutside(index, 0, _count, nameof(index), nameof(index));
        if (items.IsEmpty)
            return;
        if (_count + items.Length > Capacity)
            Grow(_count + items.Length, index, items);
        else
            InsertWithin(index, items);
        _count += items.Length;
        _version++;
    }

    /// <summary>Removes the first element that is equal to another one.</summary>
    /// <param name="item">The element to find.</param>
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

    /// <summary>Returns some elements, until the list is next changed.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, up to 2^31 - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">They exceed the list.</exception>
    /// <exception cref="InvalidOperationException">There are more elements than a span can have.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed.</exception>
    public Span<T> GetSpan(long start, long count)
    {
        nint address = Address();
        ElementMemory.ThrowIfOutside(start, count, _count, nameof(start), nameof(count));
        return ElementMemory.SpanOf<T>(address + (nint)(start * sizeof(T)), count);
    }

    /// <summary>Returns elements for an operation. Until the operation has ended, the list can't grow.</summary>
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

    /// <summary>Gives peers access to elements. Until the exposure is disposed, the list can't grow.</summary>
    /// <param name="start">The first one's index.</param>
    /// <param name="count">How many, 1 or more.</param>
    /// <param name="access">The access to grant.</param>
    /// <inheritdoc cref="RmaBuffer.Expose(long, long, RmaAccess)" path="/exception"/>
    public RmaExposure Expose(long start, long count, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        RmaSlice slice = Slice(start, count);
        return _buffer.Expose(slice.Offset, slice.Length, access);
    }

    /// <summary>Finds an element with the type's default comparison.</summary>
    /// <param name="item">The element to find.</param>
    /// <returns>The index of the first equal element; -1 if there is none.</returns>
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

    /// <summary>Whether there is an element that is equal to another one.</summary>
    /// <param name="item">The element to find.</param>
    public bool Contains(T item) => IndexOf(item) >= 0;

    /// <summary>Returns the memory, as <see cref="RmaBuffer.Dispose"/> does; a second call does nothing.</summary>
    /// <exception cref="InvalidOperationException">The memory is pinned, and stays rented; or the buffer was returned
    /// without the list.</exception>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        try
        {
            _buffer.Dispose();
        }
        catch when (_buffer.IsRented)
        {
            // The list can be disposed after the pin has ended.
            throw;
        }
        catch
        {
            End();
            throw;
        }
        End();
    }

    private void End()
    {
        _isDisposed = true;
        _count = 0;
        Capacity = 0;
    }

    /// <summary>Returns the element type, the length, and the buffer.</summary>
    public override string ToString() => $"list of {InWords.Number(_count)} {typeof(T).Name} in {(Capacity == 0 ? "no buffer" : $"a {_buffer}")}";

    private void AddItself()
    {
        long count = _count;
        if (count > Capacity - count)
            Grow(checked(2 * count), count, default);
        T* elements = (T*)Address();
        Copy(elements, elements + count, count);
        _count += count;
        _version++;
    }

    /// <summary>Inserts elements that fit. They may be the list's own elements, which then move.</summary>
    private void InsertWithin(long index, ReadOnlySpan<T> items)
    {
        T* place = (T*)Address() + index;
        // Outside the list's memory it is an address that may change, and is not used for anything else.
        byte* source = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(items));
        byte* start = (byte*)Address();
        long length = (long)items.Length * sizeof(T);
        bool isOwn = source < start + (Capacity * sizeof(T)) && source + length > start;
        if (isOwn && (source < start || source + length > start + (_count * sizeof(T))))
        {
            // The span may have been taken before the last change of the list, so it does not move as a whole.
            items = items.ToArray();
            isOwn = false;
        }
        Move(index, index + items.Length, _count - index);
        if (!isOwn)
        {
            items.CopyTo(new Span<T>(place, items.Length));
            return;
        }
        // Elements after the insertion point have moved by the length of the inserted ones.
        long before = Math.Clamp((byte*)place - source, 0, length);
        Buffer.MemoryCopy(source, place, length, before);
        Buffer.MemoryCopy(source + before + length, (byte*)place + before, length - before, length - before);
    }

    private void Move(long from, long to, long count)
    {
        T* elements = (T*)Address();
        Copy(elements + from, elements + to, count);
    }

    /// <summary>Copies elements. Source and target may overlap.</summary>
    private static void Copy(T* source, T* target, long count) => Buffer.MemoryCopy(source, target, count * sizeof(T), count * sizeof(T));

    /// <summary>Returns the address of the elements; arbitrary if the capacity is 0.</summary>
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
}
