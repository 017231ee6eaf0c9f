using System.Globalization;
using AllocTools.Blocks;
using AllocTools.Interop;

namespace AllocTools.Validation;

/// <summary>The system's limits for a pool.</summary>
internal sealed record SystemLimits
{
    private const long UsualHugePage = 2 << 20;

    /// <summary>RLIMIT_MEMLOCK in bytes; null if it does not apply to this process.</summary>
    public long? MemoryLock { get; init; }

    /// <summary>The memory of the machine in bytes; null if the system does not report it.</summary>
    public long? MachineMemory { get; init; }

    /// <summary>The memory that the control group's limit leaves.</summary>
    public CgroupMemory? Cgroup { get; init; }

    /// <summary>The bytes of all huge pages that are reserved, used or not.</summary>
    public long HugePageBytes { get; init; }

    /// <summary>The size of a huge page in bytes.</summary>
    public long HugePageSize { get; init; } = HugePages.DefaultSize ?? UsualHugePage;

    /// <summary>Whether a NUMA node exists.</summary>
    public Func<int, bool> HasNumaNode { get; init; } = NumaNodes.Exists;

    /// <summary>Reads the limits from the system.</summary>
    public static SystemLimits Read() => new()
    {
        MemoryLock = MemoryLockLimit.IsExempt ? null : MemoryLockLimit.Bytes,
        MachineMemory = ReadMachineMemory(),
        Cgroup = CgroupMemory.Read(),
        HugePageBytes = HugePages.ReservedBytes,
    };

    private static long? ReadMachineMemory()
    {
        const string Name = "MemTotal:";
        const string File = "/proc/meminfo";
        string? line = System.IO.File.Exists(File) ? System.IO.File.ReadLines(File).FirstOrDefault(l => l.StartsWith(Name, StringComparison.Ordinal)) : null;
        // In KiB: "MemTotal:       24123456 kB".
        return line is not null && long.TryParse(line.AsSpan(Name.Length).Trim().TrimEnd("kB").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long kibibytes)
            ? kibibytes * 1024
            : null;
    }
}
