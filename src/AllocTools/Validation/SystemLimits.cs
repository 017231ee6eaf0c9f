using AllocTools.Blocks;
using AllocTools.Interop;

namespace AllocTools.Validation;

/// <summary>What the system lets a pool have.</summary>
internal sealed record SystemLimits
{
    /// <summary>RLIMIT_MEMLOCK in bytes; null where it doesn't bind this process.</summary>
    public long? MemoryLock { get; init; }

    /// <summary>The control group's memory limit.</summary>
    public CgroupMemory? Cgroup { get; init; }

    /// <summary>The bytes of all huge pages that are reserved, used or not.</summary>
    public long HugePageBytes { get; init; }

    /// <summary>Whether a NUMA node is there.</summary>
    public Func<int, bool> HasNumaNode { get; init; } = NumaNodes.Exists;

    /// <summary>Asks the system.</summary>
    public static SystemLimits Read() => new()
    {
        MemoryLock = MemoryLockLimit.IsExempt ? null : MemoryLockLimit.Bytes,
        Cgroup = CgroupMemory.Read(),
        HugePageBytes = HugePages.ReservedBytes,
    };
}
