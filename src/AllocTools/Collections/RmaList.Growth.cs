using System.Runtime.InteropServices;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <content>Count and capacity, and the change of buffers.</content>
public sealed unsafe partial class RmaList<T>
{
    /// <summary>Sets the number of elements: excess elements are removed, and new ones are zero, so that a read can fill them.</summary>
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

    /// <summary>Ensures that the list need not grow before it has this many elements.</summary>
    /// <param name="capacity">Elements, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative, or exceeds the pool's cap.</exception>
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

    /// <summary>Rents a smaller buffer if that is enough, and returns the old one.</summary>
    /// <exception cref="InvalidOperationException">An operation, an exposure or a pin holds the memory; nothing was changed.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room for both; nothing was changed.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered; nothing was changed.</exception>
    /// <exception cref="ObjectDisposedException">The list is disposed; or a smaller buffer is needed, and the pool is disposed.</exception>
    public void TrimExcess()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_count == Capacity)
            return;
        ThrowIfInUse("be trimmed", _count);
        if (_count == 0)
            ReturnOld();
        else
            Replace(ElementMemory.Rent<T>(_pool, _count, nameof(Count)), _count, _count, default);
    }

    /// <summary>Moves the elements into a larger buffer, and inserts others.</summary>
    /// <param name="needed">The required capacity, which is more than <see cref="Capacity"/>.</param>
    /// <param name="index">The index of the inserted elements.</param>
    /// <param name="items">The elements to insert; they may be in the old buffer.</param>
    /// <param name="parameter">The caller's parameter with the number; may be null.</param>
    private void Grow(long needed, long index, ReadOnlySpan<T> items, string? parameter = null)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ThrowIfInUse("grow", needed);
        RmaBuffer larger = RentLarger(needed, parameter);
        // The rest of the block beyond the request would otherwise be unused.
        if (larger.Capacity <= int.MaxValue)
            larger = larger.WholeBlock();
        Replace(larger, larger.Length / sizeof(T), index, items);
    }

    /// <summary>
    /// Rents a buffer for twice the elements. If the cap leaves no room for that, it is reduced in steps, so that
    /// adding elements one by one does not copy all of them each time; the minimum is the required size.
    /// </summary>
    private RmaBuffer RentLarger(long needed, string? parameter)
    {
        long most = long.MaxValue / sizeof(T);
        long least = Math.Max(needed, FirstBytes / sizeof(T));
        for (long more = Capacity; more > 0 && more >= Capacity / 16; more /= 2)
        {
            if (more <= most - Capacity && Capacity + more > least && TryRent(Capacity + more, out RmaBuffer buffer))
                return buffer;
        }
        if (least > needed && TryRent(least, out RmaBuffer first))
            return first;
        try
        {
            return ElementMemory.Rent<T>(_pool, needed, parameter ?? nameof(needed));
        }
        catch (ArgumentOutOfRangeException) when (parameter is null)
        {
            long limit = _pool.GetStatistics().LimitBytes;
            throw new RmaPoolExhaustedException(
                $"The list can't grow from room for {InWords.Count(Capacity, "element", "elements")} to {InWords.Number(needed)}: the pool '{_pool.Name}' has at most {InWords.Size(limit)} (its option MaxRegisteredBytes).",
                needed <= most ? needed * sizeof(T) : long.MaxValue,
                limit);
        }
    }

    private bool TryRent(long count, out RmaBuffer buffer)
    {
        try
        {
            return _pool.TryRent(count * sizeof(T), out buffer);
        }
        catch (ArgumentOutOfRangeException)
        {
            // Over the pool's cap.
            buffer = default;
            return false;
        }
    }

    /// <summary>Switches to another buffer; if that fails, the buffer is returned and nothing was changed.</summary>
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
                ReturnOld();
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
        _buffer = buffer;
        Capacity = capacity;
    }

    /// <summary>Returns the buffer, which then no longer belongs to the list.</summary>
    /// <exception cref="InvalidOperationException">An operation, an exposure or a pin has begun to hold it since the check; the list keeps it.</exception>
    private void ReturnOld()
    {
        try
        {
            _buffer.Return();
        }
        catch (ObjectDisposedException)
        {
            // The pool is closed, but has the memory back nevertheless. A list that has other memory, or needs none, can continue.
        }
        _buffer = default;
        Capacity = 0;
    }

    private void ThrowIfInUse(string what, long count)
    {
        if (_buffer.IsRented && _buffer.IsInUse)
            throw new InvalidOperationException(
                $"The list can't {what} from room for {InWords.Count(Capacity, "element", "elements")} to {InWords.Number(count)}: an operation, an exposure or a pin holds its current memory, and would keep using it. Await its operations, and dispose its exposures and memory handles first; or call EnsureCapacity before they begin.");
    }
}
