using System.Runtime.InteropServices;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <content>How many elements there are and may be, and other buffers for them.</content>
public sealed unsafe partial class RmaList<T>
{
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

    /// <summary>Moves the elements into a larger buffer, with others among them.</summary>
    /// <param name="needed">Elements that there must be room for, more than <see cref="Capacity"/>.</param>
    /// <param name="index">Where the others go.</param>
    /// <param name="items">The others; they may lie in the old buffer.</param>
    /// <param name="parameter">The caller's parameter that says how many; null where none does.</param>
    private void Grow(long needed, long index, ReadOnlySpan<T> items, string? parameter = null)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ThrowIfInUse("grow", needed);
        RmaBuffer larger = RentLarger(needed, parameter);
        // What the block has beyond what was asked for would else be of no use to anybody.
        if (larger.Capacity <= int.MaxValue)
            larger = larger.WholeBlock();
        Replace(larger, larger.Length / sizeof(T), index, items);
    }

    /// <summary>
    /// A buffer for twice the elements. Where the cap leaves no room for that it is less in steps, so that adding one by one does
    /// not copy all elements each time; at last it is what is needed.
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

    /// <summary>Goes over to another buffer, which is returned where that fails; then nothing was changed.</summary>
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

    /// <summary>Returns the buffer, which is not the list's any more then.</summary>
    /// <exception cref="InvalidOperationException">An operation, an exposure or a pin has held it since that was looked for; it stays the list's.</exception>
    private void ReturnOld()
    {
        try
        {
            _buffer.Return();
        }
        catch (ObjectDisposedException)
        {
            // The pool is closed, and has the memory back all the same. A list that has other memory, or needs none, goes on.
        }
        _buffer = default;
        Capacity = 0;
    }

    private void ThrowIfInUse(string what, long count)
    {
        if (_buffer.IsRented && _buffer.IsInUse)
            throw new InvalidOperationException(
                $"The list can't {what} from room for {InWords.Count(Capacity, "element", "elements")} to {InWords.Number(count)}: an operation, an exposure or a pin holds its memory, and would stay with the old one. Await its operations, and dispose its exposures and memory handles first; or call EnsureCapacity before they begin.");
    }
}
