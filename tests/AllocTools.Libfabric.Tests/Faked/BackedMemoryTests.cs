using AllocTools.Blocks;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests a provider with FI_MR_ALLOCATED, which demands pages behind all registered memory, including the caller's.
/// </summary>
public sealed class BackedMemoryTests
{
    private const int Length = 64 << 10;

    [Fact]
    public async Task TheCallersMemoryIsBackedAndStaysAsItIs()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        using IRmaContext context = world.Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        var pages = new PageAllocator();
        nint address = pages.Allocate(Length, populate: false);
        Span<byte> bytes;
        unsafe
        {
            bytes = new Span<byte>((void*)address, Length);
        }
        bytes[5000] = 77;
        using (RmaBuffer buffer = pool.Register(address + 100, Length - 300))
            Assert.Equal(77, buffer.Span[4900]);
        bytes[5000] = 0;
        Assert.False(bytes.ContainsAnyExcept((byte)0));
        pages.Free(address, Length);
    }

    [Fact]
    public async Task MemoryThatIsNotMappedIsRefusedByName()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        using IRmaContext context = world.Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        // Nothing is ever mapped there (vm.mmap_min_addr). A page that the test has just unmapped could be mapped again
        // by another thread.
        nint page = Environment.SystemPageSize;
        RmaRegistrationException error = Assert.Throws<RmaRegistrationException>(() => pool.Register(page, page));
        Assert.Equal(("register", "EFAULT", page), (error.Operation, error.ErrorName, error.Length));
        Assert.Contains("offset 0 is not mapped", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes);
        Assert.False(world.Calls.ContainsKey("fi_mr_regattr"));
    }
}
