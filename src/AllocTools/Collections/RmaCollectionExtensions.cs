namespace AllocTools.Collections;

/// <summary>Rents arrays from a pool.</summary>
public static class RmaCollectionExtensions
{
    /// <summary>Rents an array, like its constructor <see cref="RmaArray{T}(IRmaMemoryPool, long, bool)"/>.</summary>
    /// <typeparam name="T">The element.</typeparam>
    /// <param name="pool">Where the memory comes from.</param>
    /// <param name="length">Elements, 1 or more.</param>
    /// <param name="zeroed">Whether they are initially zero; otherwise their values are undefined.</param>
    /// <inheritdoc cref="RmaArray{T}(IRmaMemoryPool, long, bool)" path="/exception"/>
    public static RmaArray<T> RentArray<T>(this IRmaMemoryPool pool, long length, bool zeroed = true)
        where T : unmanaged => new(pool, length, zeroed);

    /// <summary>
    /// Like <see cref="RentArray"/>, but waits for room at the pool's cap, as <see cref="IRmaMemoryPool.RentAsync"/>
    /// does.
    /// </summary>
    /// <typeparam name="T">The element.</typeparam>
    /// <param name="pool">Where the memory comes from.</param>
    /// <param name="length">Elements, 1 or more.</param>
    /// <param name="zeroed">Whether they are initially zero; otherwise their values are undefined.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <inheritdoc cref="RmaArray{T}(IRmaMemoryPool, long, bool)" path="/exception"/>
    public static ValueTask<RmaArray<T>> RentArrayAsync<T>(this IRmaMemoryPool pool, long length, bool zeroed = true, CancellationToken cancellationToken = default)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(pool);
        return Await(ElementMemory.RentAsync<T>(pool, length, nameof(length), cancellationToken));

        async ValueTask<RmaArray<T>> Await(ValueTask<RmaBuffer> rent) => new(await rent.ConfigureAwait(false), length, zeroed);
    }
}
