using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>Helpers for elements in buffers: byte sizes, rents by element count, and the errors of invalid counts and indices.</summary>
internal static class ElementMemory
{
    /// <summary>Rents room for elements.</summary>
    /// <param name="pool">The pool to rent from.</param>
    /// <param name="count">Elements, 1 or more.</param>
    /// <param name="parameter">The caller's parameter with the count.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is 0 or less, or exceeds the pool's cap.</exception>
    public static RmaBuffer Rent<T>(IRmaMemoryPool pool, long count, string parameter)
        where T : unmanaged
    {
        long bytes = BytesOf<T>(count, parameter);
        try
        {
            return pool.Rent(bytes);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw TooMany<T>(count, parameter, pool);
        }
    }

    /// <summary>Like <see cref="Rent"/>, but waits for room at the pool's cap.</summary>
    public static async ValueTask<RmaBuffer> RentAsync<T>(IRmaMemoryPool pool, long count, string parameter, CancellationToken cancellationToken)
        where T : unmanaged
    {
        long bytes = BytesOf<T>(count, parameter);
        try
        {
            return await pool.RentAsync(bytes, cancellationToken).ConfigureAwait(false);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw TooMany<T>(count, parameter, pool);
        }
    }

    /// <summary>Returns the number of bytes of 1 element or more.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The count is 0 or less, or they take more than 2^63 bytes.</exception>
    public static unsafe long BytesOf<T>(long count, string parameter)
        where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count, parameter);
        if (count > long.MaxValue / sizeof(T))
            throw TooMany<T>(count, parameter, pool: null);
        return count * sizeof(T);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ThrowIfOutside(long start, long count, long whole, string startName, string countName)
    {
        // Unsigned, so that a negative number is too large.
        if ((ulong)start > (ulong)whole || (ulong)count > (ulong)(whole - start))
            ThrowRange(start, count, whole, startName, countName);
    }

    /// <summary>Returns elements as a span; a span of bytes is limited to 2 GiB, one of larger elements is not.</summary>
    public static unsafe Span<T> SpanOf<T>(nint address, long count)
        where T : unmanaged
    {
        if (count > int.MaxValue)
            throw new InvalidOperationException($"{InWords.Number(count)} elements are more than a span or memory can hold ({InWords.Number(int.MaxValue)}); take parts of them with GetSpan(start, count).");
        return new Span<T>((void*)address, (int)count);
    }

    /// <summary>Converts a count for interfaces without 64-bit counts.</summary>
    public static int CountOf(long count) => count <= int.MaxValue
        ? (int)count
        : throw new InvalidOperationException($"There are {InWords.Number(count)} elements, more than ICollection.Count can say ({InWords.Number(int.MaxValue)}).");

    [DoesNotReturn]
    public static void ThrowIndex(long index, long whole, string parameter = "index") => throw new ArgumentOutOfRangeException(
        parameter, $"Index {InWords.Number(index)} is out of range: there are {InWords.Count(whole, "element", "elements")}.");

    [DoesNotReturn]
    private static void ThrowRange(long start, long count, long whole, string startName, string countName)
    {
        string there = InWords.Count(whole, "element", "elements");
        if ((ulong)start > (ulong)whole)
            throw new ArgumentOutOfRangeException(startName, $"Start {InWords.Number(start)} is out of range: there are {there}.");
        throw new ArgumentOutOfRangeException(countName, $"{InWords.Count(count, "element", "elements")} from {InWords.Number(start)} on are out of range: there are {there}.");
    }

    private static unsafe ArgumentOutOfRangeException TooMany<T>(long count, string parameter, IRmaMemoryPool? pool)
        where T : unmanaged
    {
        string most = pool is null ? "more than 2^63 bytes" : $"but the pool '{pool.Name}' has at most {InWords.Size(pool.GetStatistics().LimitBytes)} (its option MaxRegisteredBytes)";
        return new ArgumentOutOfRangeException(parameter, $"{InWords.Count(count, "element", "elements")} of {InWords.Bytes(sizeof(T))} each were asked for, {most}.");
    }
}
