using System.Globalization;
using AllocTools.Blocks;
using AllocTools.HostMemory;
using Xunit;

namespace AllocTools.Tests.HostMemory;

public sealed class PageLockTableTests : IDisposable
{
    private const int Page = 4096;
    private const int Pages = 16;
    private readonly PageAllocator _allocator = new();
    private readonly nint _memory;

    public PageLockTableTests() => _memory = _allocator.Allocate(Pages * Page, populate: true);

    public void Dispose() => _allocator.Free(_memory, Pages * Page);

    [Fact]
    public void PagesStayLockedUntilTheLastOfOverlappingRangesIsUnlocked()
    {
        Assert.Equal(0, PageLockTable.Lock(_memory, 3 * Page));
        Assert.Equal(0, PageLockTable.Lock(_memory + (2 * Page) + 100, 2 * Page));
        Assert.Equal(5, LockedPages());
        Assert.Equal(0, PageLockTable.Unlock(_memory, 3 * Page));
        Assert.Equal(3, LockedPages());
        Assert.Equal(0, PageLockTable.Unlock(_memory + (2 * Page) + 100, 2 * Page));
        Assert.Equal(0, LockedPages());
    }

    [Fact]
    public async Task RandomOverlapsOnManyThreadsEndWithNothingLocked()
    {
        await Task.WhenAll(Enumerable.Range(0, 4).Select(seed => Task.Run(() =>
        {
            var random = new Random(seed);
            Stack<(nint, long)> locked = new();
            for (int i = 0; i < 2000; i++)
            {
                if (random.Next(2) == 0 || locked.Count == 0)
                {
                    int start = random.Next(Pages * Page);
                    int length = random.Next(1, (Pages * Page) - start + 1);
                    Assert.Equal(0, PageLockTable.Lock(_memory + start, length));
                    locked.Push((_memory + start, length));
                }
                else
                {
                    (nint address, long length) = locked.Pop();
                    Assert.Equal(0, PageLockTable.Unlock(address, length));
                }
            }
            foreach ((nint address, long length) in locked)
                Assert.Equal(0, PageLockTable.Unlock(address, length));
        })));
        Assert.Equal(0, LockedPages());
    }

    [Fact]
    public void ARefusedLockLeavesNothingLocked()
    {
        // Page 2 is already locked, and page 5 is unmapped: locking 1 to 6 fails there, after it has locked 1 and 3 to 4.
        nint own = _allocator.Allocate(8 * Page, populate: true);
        Assert.Equal(0, PageLockTable.Lock(own + (2 * Page), Page));
        _allocator.Free(own + (5 * Page), Page);
        long before = PageLockTable.LockedBytes;
        Assert.NotEqual(0, PageLockTable.Lock(own + Page, 6 * Page));
        Assert.Equal(before, PageLockTable.LockedBytes);
        Assert.Equal(1, LockedPages(own, 5 * Page));
        Assert.Equal(0, PageLockTable.Unlock(own + (2 * Page), Page));
        Assert.Equal(0, LockedPages(own, 5 * Page));
        _allocator.Free(own, 5 * Page);
        _allocator.Free(own + (6 * Page), 2 * Page);
    }

    private long LockedPages() => LockedPages(_memory, Pages * Page);

    /// <summary>
    /// Returns what the kernel reports about this memory (proc(5), smaps): the locked kilobytes of its mapping, in
    /// pages.
    /// </summary>
    private static long LockedPages(nint address, long length)
    {
        long kilobytes = 0;
        bool inRange = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            string[] words = line.Split([' ', '-'], StringSplitOptions.RemoveEmptyEntries);
            if (ulong.TryParse(words[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong start) && !words[0].EndsWith(':'))
                inRange = start >= (ulong)address && start < (ulong)address + (ulong)length;
            else if (inRange && words[0] == "Locked:")
                kilobytes += long.Parse(words[1], CultureInfo.InvariantCulture);
        }
        return kilobytes * 1024 / Page;
    }
}
