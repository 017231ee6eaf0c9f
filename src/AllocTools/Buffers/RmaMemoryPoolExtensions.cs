using System.Buffers;
using System.IO.Pipelines;
using AllocTools.Validation;

namespace AllocTools.Buffers;

/// <summary>A pool where other code takes its memory from.</summary>
public static class RmaMemoryPoolExtensions
{
    /// <summary>The pool as <see cref="MemoryPool{T}"/>.</summary>
    /// <param name="pool">Where the memory comes from. It is not owned: disposing the adapter leaves it open.</param>
    /// <param name="maxBufferSize">The longest that can be rented: 1 byte or more. What a pipe needs beyond it, it takes elsewhere.</param>
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

    /// <summary>Options of a <see cref="Pipe"/> whose segments are the pool's memory: what is written into the pipe can go on by RMA from where it is.</summary>
    /// <remarks>
    /// A pipe asks for segments of <paramref name="minimumSegmentSize"/> and gets the whole block that the pool has for that. What is asked for in
    /// one piece (<c>GetMemory(sizeHint)</c>) may take a longer one; where it is longer than <paramref name="maximumSegmentSize"/> it is no memory
    /// of the pool's. At the pool's cap the pipe's writer gets <see cref="RmaPoolExhaustedException"/>: let <paramref name="pauseWriterThreshold"/>
    /// hold it up before that.
    /// </remarks>
    /// <param name="pool">Where the memory comes from; open for as long as the pipe is used.</param>
    /// <param name="readerScheduler">Where the reader goes on; null: the thread pool.</param>
    /// <param name="writerScheduler">Where the writer goes on; null: the thread pool.</param>
    /// <param name="pauseWriterThreshold">How many bytes may lie in the pipe before flushes wait; 0: any number; -1: the pipe's default, 64 KiB.</param>
    /// <param name="resumeWriterThreshold">How few bytes let them go on; -1: the pipe's default, half of that.</param>
    /// <param name="minimumSegmentSize">Bytes of a first segment, at least; -1: the pipe's default, 4 KiB.</param>
    /// <param name="maximumSegmentSize">The longest segment that is rented, in bytes: 1 or more.</param>
    /// <param name="useSynchronizationContext">Whether both go on in the caller's <see cref="SynchronizationContext"/>, where there is one.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range, or the resume threshold is over the pause threshold.</exception>
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
