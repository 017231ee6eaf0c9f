using System.Buffers;
using AllocTools.Blocks;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Memory that counts its pins.</summary>
internal sealed unsafe class CountedMemory(int length) : MemoryManager<byte>
{
    private readonly nint _address = new PageAllocator().Allocate(length, populate: true);
    private int _pins;

    public int Pins => Volatile.Read(ref _pins);

    public override Span<byte> GetSpan() => new((void*)_address, length);

    public override MemoryHandle Pin(int elementIndex = 0)
    {
        Interlocked.Increment(ref _pins);
        return new MemoryHandle((byte*)_address + elementIndex, pinnable: this);
    }

    public override void Unpin() => Interlocked.Decrement(ref _pins);

    protected override void Dispose(bool disposing) => new PageAllocator().Free(_address, length);
}
