using AllocTools.Blocks;

namespace AllocTools.Testing;

/// <summary>A real allocator that counts what is mapped.</summary>
internal sealed class CountingAllocator : IBlockAllocator
{
    private readonly PageAllocator _inner = new();
    private long _mapped;

    public long Mapped => Volatile.Read(ref _mapped);

    public int PageSize => _inner.PageSize;

    public nint Allocate(long length, bool populate)
    {
        nint address = _inner.Allocate(length, populate);
        Interlocked.Add(ref _mapped, length);
        return address;
    }

    public void Free(nint address, long length)
    {
        _inner.Free(address, length);
        Interlocked.Add(ref _mapped, -length);
    }
}
