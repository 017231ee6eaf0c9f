using System.Buffers;
using System.IO.Pipelines;
using AllocTools.Validation;

namespace AllocTools.Buffers;

/// <summary>Makes a pool available to other code that takes memory from pools.</summary>
public static class RmaMemoryPoolExtensions
{
    /// <summary>Returns the pool as <see cref="MemoryPool{T}"/>.</summary>
    /// <param name="pool">Where the memory comes from. The adapter does not own it: disposing the adapter leaves it open.</param>
    /// <param name="maxBufferSize">The longest possible rent: 1 byte or more. If a pipe needs more, it allocates that elsewhere.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxBufferSize"/> is less than 1.</exception>
    /// <example>
    /// <code>
    /// using MemoryPool&lt;byte&gt; memoryPool = pool.AsMemoryPool();
    /// using IMemoryOwner&lt;byte&gt; owner = memoryPool.Rent(64 &lt;&lt; 10);
    /// owner.Memory.Span.Clear();
    /// bool isOurs = RmaSlice.TryGet(owner.Memory[..100], out RmaSlice slice);
    /// await endpoint.WriteAsync(slice, remote, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    public static RmaMemoryPoolAdapter AsMemoryPool(this IRmaMemoryPool pool, int maxBufferSize = int.MaxValue)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxBufferSize, 1);
        return new RmaMemoryPoolAdapter(pool, maxBufferSize);
    }

    /// <summary>Options of a <see cref="Pipe"/> whose segments are the pool's memory, so that data in the pipe can be sent by RMA without a copy.</summary>
    /// <remarks>
    /// A pipe asks for segments of <paramref name="minimumSegmentSize"/> and gets the whole block of the pool. A larger
    /// request (<c>GetMemory(sizeHint)</c>) may get a longer segment; if it exceeds
    /// <paramref name="maximumSegmentSize"/>, it is not memory of the pool. At the pool's cap the pipe's writer gets
    /// <see cref="RmaPoolExhaustedException"/>: choose <paramref name="pauseWriterThreshold"/> so that it pauses before that.
    /// </remarks>
    /// <param name="pool">The pool that the memory comes from; it must stay open while the pipe is used.</param>
    /// <param name="readerScheduler">The scheduler of the reader; null: the thread pool.</param>
    /// <param name="writerScheduler">The scheduler of the writer; null: the thread pool.</param>
    /// <param name="pauseWriterThreshold">How many bytes may be in the pipe before flushes wait; 0: any number; -1: the pipe's default, 64 KiB.</param>
    /// <param name="resumeWriterThreshold">Below how many bytes they continue; -1: the pipe's default, half of that.</param>
    /// <param name="minimumSegmentSize">Bytes of a first segment, at least; -1: the pipe's default, 4 KiB.</param>
    /// <param name="maximumSegmentSize">The longest segment that is rented, in bytes: 1 or more.</param>
    /// <param name="useSynchronizationContext">Whether both continue in the caller's <see cref="SynchronizationContext"/>, if there is one.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range, or the resume threshold exceeds the pause threshold.</exception>
    /// <example>
    /// <code>
    /// var pipe = new Pipe(pool.ToPipeOptions());
    /// await pipe.Writer.WriteAsync(new byte[100], cancellationToken);
    /// ReadResult read = await pipe.Reader.ReadAsync(cancellationToken);
    /// RmaBatch batch = endpoint.CreateBatch();
    /// batch.Write(read.Buffer, remote);
    /// await batch.RunAsync(cancellationToken: cancellationToken);
    /// pipe.Reader.AdvanceTo(read.Buffer.End);
    /// </code>
    /// </example>
    public static PipeOptions ToPipeOptions(
        this IRmaMemoryPool pool,
        PipeScheduler? readerScheduler = null,
        PipeScheduler? writerScheduler = null,
        long pauseWriterThreshold = -1,
        long resumeWriterThreshold = -1,
        int minimumSegmentSize = -1,
        int maximumSegmentSize = int.MaxValue,
        bool useSynchronizationContext = true)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(maximumSegmentSize, 1);
        if (minimumSegmentSize != -1 && (minimumSegmentSize < 1 || minimumSegmentSize > maximumSegmentSize))
        {
            throw new ArgumentOutOfRangeException(
                nameof(minimumSegmentSize), minimumSegmentSize, $"The size must be between 1 and the maximum segment size, {InWords.Number(maximumSegmentSize)} bytes, or -1 for the pipe's default.");
        }
        return new PipeOptions(pool.AsMemoryPool(maximumSegmentSize), readerScheduler, writerScheduler, pauseWriterThreshold, resumeWriterThreshold, minimumSegmentSize, useSynchronizationContext);
    }
}
