using AllocTools.Validation;
using Xunit;

namespace AllocTools.Tests.Validation;

/// <summary>The limits of control groups, in files as the kernel writes them.</summary>
public sealed class CgroupMemoryTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("alloctools-cgroup").FullName;

    [Fact]
    public void TheLowestLimitOfAllGroupsAboveCounts()
    {
        Write("memory.max", "max");
        Write("service/memory.max", "1073741824");
        Write("service/pod/memory.max", "2147483648");
        Assert.Equal(new CgroupMemory(1 << 30, Path.Combine(_root, "service/memory.max")), Read("0::/service/pod"));
    }

    [Fact]
    public void InAContainerTheRootIsItsOwnGroup()
    {
        Write("memory.max", "268435456");
        Assert.Equal(256 << 20, Read("0::/")!.Bytes);
        Assert.Equal(256 << 20, Read("0::/kubepods/pod1/abc")!.Bytes);
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
        Assert.Equal(512 << 20, Read("12:cpu,cpuacct:/docker\n4:hugetlb,memory:/docker")!.Bytes);
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
