using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools;

/// <summary>
/// Typed allocation from a pool, for code that has its own containers: counts elements, returns fancy pointers, or raw
/// pointers for code that supports nothing else. All allocated memory is registered.
/// </summary>
/// <typeparam name="T">The element.</typeparam>
/// <param name="pool">The pool that the memory comes from. The allocator does not own it.</param>
/// <remarks>
/// All members are safe to call from any thread. Memory is not cleared unless the method says so. Allocators of one
/// pool are equal, whatever their elements: one of them can free memory that another one allocated.
/// </remarks>
public sealed class RmaAllocator<T>(IRmaMemoryPool pool) : IEquatable<RmaAllocator<T>>
    where T : unmanaged
{
    // The leases of raw pointers that the allocators of the pool returned, because a raw pointer can't carry its lease.
    private readonly ConcurrentDictionary<nint, RmaBuffer> _raw = BarePointers.Of(pool ?? throw new ArgumentNullException(nameof(pool)));

    /// <summary>The pool that the memory comes from.</summary>
    public IRmaMemoryPool Pool { get; } = pool;

    /// <summary>
    /// The most elements that one allocation may have: as many as fit below the pool's cap. Reading it takes a snapshot
    /// of the pool's statistics.
    /// </summary>
    public unsafe long MaxCount => Pool.GetStatistics().LimitBytes / sizeof(T);

    /// <summary>Returns an allocator of other elements from the same pool, which is equal to this one.</summary>
    /// <typeparam name="TOther">The other element.</typeparam>
    public RmaAllocator<TOther> Rebind<TOther>()
        where TOther : unmanaged => new(Pool);

    /// <summary>Allocates elements.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <returns>A pointer to the first one. Free it with <see cref="Free(RmaPointer{T})"/>.</returns>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.Rent" path="/exception"/>
    public RmaPointer<T> Allocate(long count) => new(Pool.Rent(BytesOf(count)));

    /// <summary>Allocates elements that are all zero.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <returns>A pointer to the first one. Free it with <see cref="Free(RmaPointer{T})"/>.</returns>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.Rent" path="/exception"/>
    public unsafe RmaPointer<T> AllocateZeroed(long count)
    {
        RmaPointer<T> pointer = Allocate(count);
        NativeMemory.Clear(pointer.ToPointer(), (nuint)BytesOf(count));
        return pointer;
    }

    /// <summary>Allocates elements with the same value.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <param name="value">The value of each element.</param>
    /// <returns>A pointer to the first one. Free it with <see cref="Free(RmaPointer{T})"/>.</returns>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.Rent" path="/exception"/>
    public RmaPointer<T> Allocate(long count, T value)
    {
        RmaPointer<T> pointer = Allocate(count);
        for (long start = 0; start < count; start += int.MaxValue)
            (pointer + start).AsSpan((int)Math.Min(int.MaxValue, count - start)).Fill(value);
        return pointer;
    }

    /// <summary>Allocates elements, or returns false if the pool's cap leaves no room.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <param name="pointer">A pointer to the first one, or null.</param>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.TryRent" path="/exception"/>
    public bool TryAllocate(long count, out RmaPointer<T> pointer)
    {
        bool rented = Pool.TryRent(BytesOf(count), out RmaBuffer buffer);
        pointer = rented ? new RmaPointer<T>(buffer) : default;
        return rented;
    }

    /// <summary>Allocates elements, waiting for room at the pool's cap.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.RentAsync" path="/exception"/>
    public ValueTask<RmaPointer<T>> AllocateAsync(long count, CancellationToken cancellationToken = default)
    {
        ValueTask<RmaBuffer> rent = Pool.RentAsync(BytesOf(count), cancellationToken);
        return rent.IsCompletedSuccessfully
            ? new ValueTask<RmaPointer<T>>(new RmaPointer<T>(rent.Result))
            : Await(rent);

        static async ValueTask<RmaPointer<T>> Await(ValueTask<RmaBuffer> rent) =>
            new(await rent.ConfigureAwait(false));
    }

    /// <summary>Frees an allocation. Freeing the null pointer does nothing.</summary>
    /// <param name="pointer">A pointer to the first element, as it was allocated.</param>
    /// <exception cref="ArgumentException">It points into the middle, or into another pool's memory.</exception>
    /// <exception cref="InvalidOperationException">It was already freed, or an operation, an exposure or a pin holds
    /// the memory.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed. The memory is released nevertheless.</exception>
    public void Free(RmaPointer<T> pointer)
    {
        if (pointer.IsNull)
            return;
        if (pointer.ByteOffset != 0)
            throw new ArgumentException($"The pointer is {pointer.ByteOffset} bytes into the allocation; free the pointer that was allocated.", nameof(pointer));
        Pool.Return(pointer.Buffer);
    }

    /// <summary>Allocates elements for code that takes a raw pointer, like malloc.</summary>
    /// <param name="count">Elements, 1 or more.</param>
    /// <returns>The first element. Free it with <see cref="FreeUnmanaged"/> of an allocator of the same pool.</returns>
    /// <exception cref="OverflowException">The elements take more than 2^63 bytes.</exception>
    /// <inheritdoc cref="IRmaMemoryPool.Rent" path="/exception"/>
    public unsafe T* AllocateUnmanaged(long count)
    {
        RmaBuffer buffer = Pool.Rent(BytesOf(count));
        _raw[buffer.Address] = buffer;
        return (T*)buffer.Address;
    }

    /// <summary>Frees memory that <see cref="AllocateUnmanaged"/> returned. Freeing null does nothing.</summary>
    /// <param name="pointer">The pointer.</param>
    /// <exception cref="ArgumentException">It was not allocated from this pool, or was already freed.</exception>
    /// <exception cref="InvalidOperationException">An operation, an exposure or a pin holds the memory, and it stays allocated; or its buffer was returned by other means.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed. The memory is released nevertheless.</exception>
    public unsafe void FreeUnmanaged(T* pointer)
    {
        if (pointer is null)
            return;
        if (!_raw.TryRemove((nint)pointer, out RmaBuffer buffer))
            throw new ArgumentException("The pointer was not allocated by an allocator of this pool, or was already freed.", nameof(pointer));
        try
        {
            buffer.Return();
        }
        catch (InvalidOperationException e) when (e is not ObjectDisposedException && buffer.IsRented)
        {
            // If another caller has ended the lease meanwhile, the address may have been allocated again.
            _raw.TryAdd((nint)pointer, buffer);
            throw;
        }
    }

    /// <summary>Returns the fancy pointer, which has the keys, to memory that <see cref="AllocateUnmanaged"/> returned.</summary>
    /// <param name="pointer">The pointer.</param>
    /// <exception cref="ArgumentException">It was not allocated from this pool, or was already freed.</exception>
    public unsafe RmaPointer<T> FromUnmanaged(T* pointer) => _raw.TryGetValue((nint)pointer, out RmaBuffer buffer)
        ? new RmaPointer<T>(buffer)
        : throw new ArgumentException("The pointer was not allocated by an allocator of this pool, or was already freed.", nameof(pointer));

    /// <summary>Whether both allocate from the same pool, whatever their elements.</summary>
    /// <typeparam name="TOther">The other one's element.</typeparam>
    /// <param name="other">Another allocator.</param>
    public bool Equals<TOther>(RmaAllocator<TOther>? other)
        where TOther : unmanaged => other is not null && ReferenceEquals(Pool, other.Pool);

    /// <summary>Whether both allocate from the same pool.</summary>
    /// <param name="other">Another allocator.</param>
    public bool Equals(RmaAllocator<T>? other) => Equals<T>(other);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is RmaAllocator<T> other && Equals<T>(other);

    /// <inheritdoc/>
    public override int GetHashCode() => RuntimeHelpers.GetHashCode(Pool);

    /// <summary>True when both allocate from the same pool.</summary>
    public static bool operator ==(RmaAllocator<T>? left, RmaAllocator<T>? right) => left is null ? right is null : left.Equals<T>(right);

    /// <summary>False when both allocate from the same pool.</summary>
    public static bool operator !=(RmaAllocator<T>? left, RmaAllocator<T>? right) => !(left == right);

    private static unsafe long BytesOf(long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        return checked(count * sizeof(T));
    }
}

/// <summary>The leases behind the raw pointers of each pool's allocators. An entry is collected with its pool.</summary>
file static class BarePointers
{
    private static readonly ConditionalWeakTable<IRmaMemoryPool, ConcurrentDictionary<nint, RmaBuffer>> Pools = [];

    public static ConcurrentDictionary<nint, RmaBuffer> Of(IRmaMemoryPool pool) => Pools.GetOrAdd(pool, static _ => new());
}
