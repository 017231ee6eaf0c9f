using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Cells;

/// <summary>Reads a peer's <see cref="RmaCell{T}"/> by RMA, and returns only values from a single write.</summary>
/// <typeparam name="T">The value: the writer's type, with the same order of bytes.</typeparam>
/// <remarks>
/// A read that overlaps a write is repeated: immediately for some time, then each millisecond. Each reads the whole
/// cell by one operation, into a buffer that is rented for the call. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaCellReader<T>
    where T : unmanaged
{
    // How often a read is repeated immediately: even with a writer that never pauses, more than one read in a hundred succeeds.
    private const int Eager = 64;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);

    private readonly IRmaEndpoint _endpoint;
    private readonly IRmaMemoryPool _pool;
    private readonly RemoteSlice _cell;
    private readonly TimeProvider _time;

    /// <summary>Creates a reader of a cell.</summary>
    /// <param name="endpoint">The endpoint that reads.</param>
    /// <param name="pool">The pool that buffers come from; it must be on the endpoint's context.</param>
    /// <param name="cell">The cell that the writer has exposed, <see cref="RmaCell.SizeOf{T}"/> bytes or more.</param>
    /// <param name="timeProvider">The clock of the time-outs; null: the system's.</param>
    /// <exception cref="ArgumentException">The memory is shorter than a cell of this type.</exception>
    public RmaCellReader(IRmaEndpoint endpoint, IRmaMemoryPool pool, RemoteSlice cell, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(pool);
        int size = RmaCell.SizeOf<T>();
        if (cell.Region is null || cell.Length < size)
            throw new ArgumentException($"A cell of {typeof(T).Name} takes {InWords.Bytes(size)}; the argument is {cell}.", nameof(cell));
        _endpoint = endpoint;
        _pool = pool;
        _cell = cell.Slice(0, size);
        _time = timeProvider ?? TimeProvider.System;
    }

    /// <summary>Reads the cell.</summary>
    /// <param name="timeout">How long to try, at least once: 0 to 24 hours, or <see cref="Timeout.InfiniteTimeSpan"/>. Null: <see cref="RmaCell.DefaultReadTimeout"/>. With 0, the single read has the endpoint's time-out.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The value, and how often the cell had been written.</returns>
    /// <exception cref="RmaCellException">
    /// There is no cell of this type; or no read in that time was from a single write: the writer ended in the middle
    /// of one, or leaves no time to read.
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
        // The first read may take its time even if no other one follows.
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
                // The time was spent on earlier reads that overlapped a write.
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
            ? $"it was being written each time (sequence {first} at first, {last} at last). Its writer leaves too little time for a read: let it pause between writes, or raise the time-out"
            : CellImage.IsBeingWritten(last)
                ? $"its sequence stayed {last}, which means that a write is in progress: its writer ended, or was stopped, in the middle of a write"
                : $"its sequence stayed {last}, with no write in progress, but its check value does not match its value: something other than the cell has written to its memory";
        return new RmaCellException($"The cell of {typeof(T).Name} in {_cell} could not be read in {InWords.Time(limit)}, by {InWords.Count(reads, "read", "reads")}: {found}.") { IsTransient = true };
    }
}
