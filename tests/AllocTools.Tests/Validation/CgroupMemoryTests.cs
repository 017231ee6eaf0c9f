using AllocTools.Validation;
using Xunit;

namespace AllocTools.Tests.Validation;

/// <summary>Tests the limits of control groups, in files as the kernel writes them.</summary>
public sealed class CgroupMemoryTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("alloctools-cgroup").FullName;

    [Fact]
    public void TheLowestLimitOfAllGroupsAboveCounts()
    {
        Write("memory.max", "max");
        Write("service/memory.max", "1073741824");
        Write("service/pod/memory.max", "2147483648");
        Assert.Equal(new CgroupMemory(1 << 30, 1 << 30, Path.Combine(_root, "service/memory.max")), Read("0::/service/pod"));
    }

    [Fact]
    public void WhatIsUsedIsTakenOffEachLimitAndTheLeastThatIsLeftCounts()
    {
        Write("service/memory.max", "1073741824");
        Write("service/memory.current", "1063741824");
        Write("service/memory.stat", "anon 900000000\nfile 163741824\ninactive_file 40000000\nactive_file 5");
        Write("service/pod/memory.max", "268435456");
        Write("service/pod/memory.current", "68435456");
        Assert.Equal(new CgroupMemory(1073741824, 50000000, Path.Combine(_root, "service/memory.max")) { Lowest = (268435456, Path.Combine(_root, "service/pod/memory.max")) }, Read("0::/service/pod"));
        Write("service/pod/memory.current", "300000000");
        Assert.Equal(new CgroupMemory(268435456, 0, Path.Combine(_root, "service/pod/memory.max")), Read("0::/service/pod"));
    }

    [Fact]
    public void VersionOneCountsTheCacheOfTheGroupsBelow()
    {
        Write("memory/docker/memory.limit_in_bytes", "268435456");
        Write("memory/docker/memory.usage_in_bytes", "200000000");
        Write("memory/docker/memory.stat", "inactive_file 1\ntotal_inactive_file 30000000");
        Assert.Equal(98435456, Read("4:memory:/docker")!.Available);
    }

    [Fact]
    public void InAContainerTheRootIsItsOwnGroup()
    {
        Write("memory.max", "268435456");
        Assert.Equal(256 << 20, Read("0::/")!.Limit);
        Assert.Equal(256 << 20, Read("0::/kubepods/pod1/abc")!.Limit);
    }

    [Fact]
    public void WithoutALimitThereIsNone()
    {
        Write("memory.max", "max");
        Assert.Null(Read("0::/"));
        Assert.Null(Read(""));
        Assert.Null(CgroupMemory.Read(Path.Combine(_root, "nowhere"), _root));
    }

    [Fact]
    public void VersionOneSaysTheLargestNumberOfPagesForNoLimit()
    {
        Write("memory/memory.limit_in_bytes", "9223372036854771712");
        Assert.Null(Read("4:memory:/"));
        Write("memory/docker/memory.limit_in_bytes", "536870912");
        Assert.Equal(512 << 20, Read("12:cpu,cpuacct:/docker\n4:hugetlb,memory:/docker")!.Limit);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private CgroupMemory? Read(string membership)
    {
        Write("membership", membership);
        return CgroupMemory.Read(Path.Combine(_root, "membership"), _root);
    }

    private void Write(string file, string text)
    {
        string path = Path.Combine(_root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text + "\n");
    }
}
