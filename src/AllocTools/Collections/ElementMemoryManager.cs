using System.Buffers;

namespace AllocTools.Collections;

/// <summary>Elements in a buffer as <see cref="Memory{T}"/>: each access checks the lease, and a pin holds the buffer. It never returns the buffer.</summary>
internal sealed unsafe class ElementMemoryManager<T>(RmaBuffer buffer, int count) : MemoryManager<T>
    where T : unmanaged
{
    public override Span<T> GetSpan() => new((void*)buffer.Address, count);

    public override MemoryHandle Pin(int elementIndex = 0)
    {
        ElementMemory.ThrowIfOutside(elementIndex, 0, count, nameof(elementIndex), nameof(elementIndex));
        buffer.Pin();
        return new MemoryHandle((T*)buffer.Address + elementIndex, default, this);
    }

    // A pin that is ended once too often is found by the hold that it ends.
    public override void Unpin() => buffer.Unpin();

    protected override void Dispose(bool disposing)
    {
    }
}
