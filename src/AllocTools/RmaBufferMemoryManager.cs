using System.Buffers;

namespace AllocTools;

/// <summary>A buffer as <see cref="Memory{T}"/>: each access checks the lease. It never returns the buffer.</summary>
internal sealed unsafe class RmaBufferMemoryManager(RmaBuffer buffer) : MemoryManager<byte>
{
    public override Span<byte> GetSpan() => buffer.Span;

    // The memory is native and never moves: there is nothing to pin.
    public override MemoryHandle Pin(int elementIndex = 0)
    {
        RangeCheck.ThrowIfOutside(elementIndex, 0, buffer.Length);
        return new MemoryHandle((byte*)buffer.Address + elementIndex);
    }

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
