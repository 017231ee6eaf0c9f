using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Cells;

/// <summary>Reads a peer's <see cref="RmaCell{T}"/> by RMA, and gives only values that are of one write.</summary>
/// <typeparam name="T">The value: the writer's type, with the same order of bytes.</typeparam>
/// <remarks>
/// A read that meets a write is done again: at once for some time, then each millisecond. Each takes the whole cell by one
/// operation, into a buffer that is rented for the call. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaCellReader<T>
    where T : unmanaged
{
    // So often a read is done again at once: a writer that does not rest leaves more than one chance in a hundred.
    private const int Eager = 64;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);

    private readonly IRmaEndpoint _endpoint;
    private readonly IRmaMemoryPool _pool;
    private readonly RemoteSlice _cell;
    private readonly TimeProvider _time;

    /// <summary>Makes a reader of a cell.</summary>
    /// <param name="endpoint">What reads.</param>
    /// <param name="pool">Where buffers come from; on the endpoint's context.</param>
    /// <param name="cell">The cell: what the writer has exposed of it, <see cref="RmaCell.SizeOf{T}"/> bytes or more.</param>
    /// <param name="timeProvider">The clock of the time-outs; the system's where it is null.</param>
    /// <exception cref="ArgumentException">The memory is shorter than a cell of this type.</exception>
    public RmaCellReader(IRmaEndpoint endpoint, IRmaMemoryPool pool, RemoteSlice cell, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(pool);
        int size = RmaCell.SizeOf<T>();
        if (cell.Region is null || cell.Length < size)
            throw new ArgumentException($"A cell of {typeof(T).Name} takes {InWords.Bytes(size)}; this is {cell}.", nameof(cell));
        _endpoint = endpoint;
        _pool = pool;
        _cell = cell.Slice(0, size);
        _time = timeProvider ?? TimeProvider.System;
    }

    /// <summary>Reads the cell.</summary>
    /// <param name="timeout">How long it is tried, once at least: 0 to 24 hours, or <see cref="Timeout.InfiniteTimeSpan"/>. <see cref="RmaCell.DefaultReadTimeout"/> where it is null. For 0 the one read has the endpoint's own time-out.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The value, and how often the cell had been written.</returns>
    /// <exception cref="RmaCellException">
    /// There is no cell of this type; or no read in that time was of one write: the writer ended in the middle of one, or leaves no time to read.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">The time-out is negative or over 24 hours.</exception>
    /// <inheritdoc cref="IRmaEndpoint.ReadAsync" path="/exception"/>
    /// <example>
    /// <code>
    /// RmaCellReader&lt;long&gt; progress = new(endpoint, pool, remote);
    /// RmaCellValue&lt;long&gt; now = await progress.ReadAsync(TimeSpan.FromSeconds(5), cancellationToken);
    /// Console.WriteLine($"{now.Value} are done, after {now.Version} writes");
    /// </code>
    /// </example>
    public ValueTask<RmaCellValue<T>> ReadAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        TimeSpan limit = timeout ?? RmaCell.DefaultReadTimeout;
        if (limit != Timeout.InfiniteTimeSpan && (limit < TimeSpan.Zero || limit > TimeSpan.FromHours(24)))
            throw new ArgumentOutOfRangeException(nameof(timeout), $"The time-out is {limit}; it must be between 0 and 24 hours, or Timeout.InfiniteTimeSpan.");
        return ReadAsync(limit, cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<RmaCellValue<T>> ReadAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        using RmaBuffer image = _pool.Rent(_cell.Length);
        long started = _time.GetTimestamp();
        // The first read has a chance also where no other one is to follow it.
        TimeSpan? left = limit == TimeSpan.Zero ? null : limit;
        (ulong first, ulong sequence) = (0, 0);
        for (int reads = 1; ; reads++)
        {
            try
            {
                await _endpoint.ReadAsync(image, _cell, left, cancellationToken).ConfigureAwait(false);
            }
            catch (RmaTimeoutException) when (reads > 1)
            {
                // What has taken the time is that the reads before met a write.
                throw NeverWhole(reads - 1, limit, first, sequence);
            }
            if (TryTake(image.Span, out RmaCellValue<T> value, out sequence))
                return value;
            if (reads == 1)
                first = sequence;
            if (limit != Timeout.InfiniteTimeSpan)
            {
                TimeSpan rest = limit - _time.GetElapsedTime(started);
                left = rest;
                if (rest <= TimeSpan.Zero)
                    throw NeverWhole(reads, limit, first, sequence);
            }
            if (reads >= Eager)
                await Task.Delay(Pause, _time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <exception cref="RmaCellException">There is no cell of this type.</exception>
    private bool TryTake(ReadOnlySpan<byte> image, out RmaCellValue<T> value, out ulong sequence)
    {
        int length = Unsafe.SizeOf<T>();
        ulong header = CellImage.HeaderOf(image);
        if (header != CellImage.Header(length))
            throw new RmaCellException($"There is no cell of {typeof(T).Name} in {_cell}: {CellImage.Describe(header, length)}.");
        sequence = CellImage.SequenceOf(image);
        bool isWhole = CellImage.IsWhole(image, length);
        value = isWhole ? new RmaCellValue<T>(MemoryMarshal.Read<T>(image[CellImage.ValueOffset..]), (long)(sequence / 2)) : default;
        return isWhole;
    }

    private RmaCellException NeverWhole(int reads, TimeSpan limit, ulong first, ulong last)
    {
        string found = first != last
            ? $"it was being written each time (sequence {first} at first, {last} at last). Its writer leaves too little time to read: let it rest between writes, or raise the time-out"
            : CellImage.IsBeingWritten(last)
                ? $"its sequence stayed {last}, which says that a write is under way: its writer has ended, or was stopped, in the middle of one"
                : $"its sequence stayed {last}, at rest, but its check value is not that of its value: its memory was written to by something else than its cell";
        return new RmaCellException($"The cell of {typeof(T).Name} in {_cell} could not be read in {InWords.Time(limit)}, by {InWords.Count(reads, "read", "reads")}: {found}.") { IsTransient = true };
    }
}
