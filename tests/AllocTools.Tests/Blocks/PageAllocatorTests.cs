using System.Globalization;
using AllocTools.Blocks;
using AllocTools.Interop;
using Xunit;

namespace AllocTools.Tests.Blocks;

public sealed class PageAllocatorTests
{
    private const long Huge = 2 << 20;

    [Theory]
    [InlineData(Huge)]
    [InlineData(3 * Huge)]
    public void MultiplesOf2MiBAreAlignedAndMayBeHuge(long length)
    {
        var allocator = new PageAllocator();
        nint address = allocator.Allocate(length, populate: true);
        Assert.Equal(0, address % Huge);
        // The kernel's flag for this advice (proc_pid_smaps(5): hg).
        Assert.Contains(" hg", MappingOf(address, "smaps", "VmFlags:"), StringComparison.Ordinal);
        allocator.Free(address, length);
        Assert.Null(FindMapping(address, "maps"));
    }

    [Fact]
    public unsafe void WhatCantBeUnmappedForWantOfMappingsGivesItsPagesBackAndIsUsedAgain()
    {
        const int noMemory = 12;
        const long length = 1 << 20;
        int answer = noMemory;
        var allocator = new PageAllocator(null, (address, bytes) => answer != 0 ? answer : SystemPages.Unmap(address, bytes));
        nint first = allocator.Allocate(length, populate: true);
        new Span<byte>((void*)first, (int)length).Fill(7);
        allocator.Free(first, length);

        nint other = allocator.Allocate(2 * length, populate: false);
        Assert.NotEqual(first, other);
        Assert.Equal(first, allocator.Allocate(length, populate: false));
        Assert.False(new Span<byte>((void*)first, (int)length).ContainsAnyExcept((byte)0), "it has the bytes of its last owner");
        Assert.NotEqual(first, allocator.Allocate(length, populate: false));

        answer = 0;
        allocator.Free(first, length);
        allocator.Free(other, 2 * length);
        answer = 22;
        Assert.Contains("EINVAL", Assert.Throws<ArgumentException>(() => allocator.Free(first, length)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutHugePagesNoneAreAskedFor()
    {
        var allocator = new PageAllocator(new PageAllocatorOptions { HugePages = RmaHugePages.Off });
        nint address = allocator.Allocate(Huge, populate: true);
        Assert.DoesNotContain(" hg", MappingOf(address, "smaps", "VmFlags:"), StringComparison.Ordinal);
        allocator.Free(address, Huge);
    }

    [Fact]
    public void MemoryPrefersTheNodeThatWasAskedFor()
    {
        var allocator = new PageAllocator(new PageAllocatorOptions { NumaNode = 0 });
        nint address = allocator.Allocate(1 << 20, populate: true);
        // numa(7): address, policy, and how many pages are on which node.
        string mapping = FindMapping(address, "numa_maps")!;
        Assert.Contains("prefer", mapping, StringComparison.Ordinal);
        Assert.Contains("N0=", mapping, StringComparison.Ordinal);
        allocator.Free(address, 1 << 20);
    }

    [Fact]
    public void ANodeThatIsNotThereIsSaid()
    {
        NotSupportedException e = Assert.Throws<NotSupportedException>(() => new PageAllocator(new PageAllocatorOptions { NumaNode = 1000 }));
        Assert.Contains("NumaNode is 1000, but this system has no such node; it has the nodes 0", e.Message, StringComparison.Ordinal);
        // If the node is only advice, it is ignored.
        var allocator = new PageAllocator(new PageAllocatorOptions { NumaNode = 1000, NumaNodeRequired = false });
        allocator.Free(allocator.Allocate(4096, populate: true), 4096);
    }

    [Fact]
    public async Task ReservedHugePagesServeAPoolAndTheirLackIsSaid()
    {
        using var reserved = new ReservedHugePages(8);
        await using var test = new TestPool(
            o =>
            {
                TestPool.Classes(64 << 10)(o);
                o.MaxIdleDirectBytes = 0;
                o.IdleRetention = TimeSpan.Zero;
                o.HugePages = RmaHugePages.Explicit;
            },
            blocks: new PageAllocator(new PageAllocatorOptions { HugePages = RmaHugePages.Explicit }));
        if (reserved.Count > 0)
        {
            using RmaBuffer buffer = test.Pool.Rent(64 << 10);
            buffer.Span.Fill(1);
            Assert.Equal(Huge, test.Statistics.RegisteredBytes);
            Assert.Equal($"KernelPageSize: {Huge >> 10} kB", string.Join(' ', MappingOf(buffer.Address, "smaps", "KernelPageSize:").Split(' ', StringSplitOptions.RemoveEmptyEntries)));
        }
        RmaRegistrationException e = Assert.Throws<RmaRegistrationException>(() => test.Pool.Rent(512 << 20));
        Assert.Contains("512 MiB (536,870,912 bytes) need 256 huge pages of 2 MiB (2,097,152 bytes)", e.Message, StringComparison.Ordinal);
        Assert.Contains("vm.nr_hugepages", e.Message, StringComparison.Ordinal);
        Assert.Equal(reserved.Count > 0 ? Huge : 0, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task ThePoolsOptionsReachItsMemory()
    {
        await using var test = new TestPool(o =>
        {
            o.HugePages = RmaHugePages.Off;
            o.NumaNode = 0;
        });
        using RmaBuffer buffer = test.Pool.Rent(Huge);
        buffer.Span.Fill(1);
        Assert.DoesNotContain(" hg", MappingOf(buffer.Address, "smaps", "VmFlags:"), StringComparison.Ordinal);
        Assert.Contains("prefer", FindMapping(buffer.Address, "numa_maps")!, StringComparison.Ordinal);
    }

    /// <summary>Returns the line of /proc/self/FILE that begins with the address.</summary>
    private static string? FindMapping(nint address, string file) => File.ReadLines($"/proc/self/{file}")
        .FirstOrDefault(line => line.StartsWith(address.ToString("x", CultureInfo.InvariantCulture), StringComparison.Ordinal));

    /// <summary>Returns a field of the mapping that contains the address, from /proc/self/smaps.</summary>
    private static string MappingOf(nint address, string file, string field)
    {
        bool isInside = false;
        foreach (string line in File.ReadLines($"/proc/self/{file}"))
        {
            string first = line.Split(' ', 2)[0];
            if (first.Contains('-', StringComparison.Ordinal))
            {
                nint[] range = [.. first.Split('-').Select(a => nint.Parse(a, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
                isInside = range[0] <= address && address < range[1];
            }
            else if (isInside && first == field)
                return line;
        }
        throw new InvalidOperationException($"{address:x} is not mapped.");
    }
}
