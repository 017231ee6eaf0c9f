using System.Buffers;
using AllocTools.Buffers;

namespace AllocTools.Collections;

/// <summary>Elements in a buffer as <see cref="Memory{T}"/>: each access checks the lease, and a pin holds the buffer. It never returns the buffer.</summary>
internal sealed class ElementMemoryManager<T>(RmaSlice elements) : MemoryManager<T>
    where T : unmanaged
{
    private LeasedMemory _leased = new(elements);

    public override Span<T> GetSpan() => _leased.GetSpan<T>();

    public override MemoryHandle Pin(int elementIndex = 0) => _leased.Pin<T>(elementIndex, this);

    public override void Unpin() => _leased.Unpin();

    protected override void Dispose(bool disposing)
    {
    }
}
