using System.Buffers;
using System.Runtime.ExceptionServices;
using AllocTools.Endpoints;

namespace AllocTools.Collections;

/// <summary>Helpers for several consecutive buffers: as a sequence, in a batch, and for their return.</summary>
internal static class BlockSequence
{
    /// <summary>Returns the bytes of several buffers. It allocates one object for each, and one more if there are several.</summary>
    public static ReadOnlySequence<byte> Of(IEnumerable<RmaSlice> slices)
    {
        Part? first = null;
        Part? last = null;
        foreach (RmaSlice slice in slices)
        {
            ReadOnlyMemory<byte> memory = slice.Buffer.Memory.Slice((int)slice.Offset, (int)slice.Length);
            last = last is null ? first = new Part(memory, 0) : last.Append(memory);
        }
        return first is null ? ReadOnlySequence<byte>.Empty : new ReadOnlySequence<byte>(first, 0, last!, last!.Memory.Length);
    }

    /// <summary>Adds a write for each slice, one after the other.</summary>
    /// <returns>How many were added.</returns>
    /// <exception cref="ArgumentException">The destination is too short for all slices; none was added.</exception>
    public static int WriteTo(RmaBatch batch, IEnumerable<RmaSlice> slices, long length, RemoteSlice destination)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (destination.Length < length)
            throw new ArgumentException($"The destination, {destination}, is shorter than the {length} bytes that were written.", nameof(destination));
        long offset = 0;
        int count = 0;
        foreach (RmaSlice slice in slices)
        {
            batch.Write(slice, destination.Slice(offset, slice.Length));
            offset += slice.Length;
            count++;
        }
        return count;
    }

    /// <summary>Returns all buffers; those that can't be returned because they are pinned stay in the list.</summary>
    /// <exception cref="InvalidOperationException">A buffer is pinned, or was already returned; the others were returned.</exception>
    public static void Return(List<RmaBuffer> buffers)
    {
        ExceptionDispatchInfo? failure = null;
        for (int i = buffers.Count - 1; i >= 0; i--)
        {
            try
            {
                buffers[i].Dispose();
                buffers.RemoveAt(i);
            }
            catch (InvalidOperationException e)
            {
                failure ??= ExceptionDispatchInfo.Capture(e);
                if (!buffers[i].IsRented)
                    buffers.RemoveAt(i);
            }
        }
        failure?.Throw();
    }

    private sealed class Part : ReadOnlySequenceSegment<byte>
    {
        public Part(ReadOnlyMemory<byte> memory, long runningIndex)
        {
            Memory = memory;
            RunningIndex = runningIndex;
        }

        public Part Append(ReadOnlyMemory<byte> memory)
        {
            Part next = new(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
