using System.Globalization;

namespace AllocTools.Validation;

/// <summary>The memory that the limits of this process's control group and its parents leave (cgroups(7), versions 2 and 1).</summary>
/// <param name="Limit">The most restrictive limit, in bytes.</param>
/// <param name="Available">The memory that it leaves, in bytes; file cache that the kernel can drop counts as free.</param>
/// <param name="File">Its file.</param>
internal sealed record CgroupMemory(long Limit, long Available, string File)
{
    /// <summary>
    /// The lowest of all limits, in bytes, and its file. It differs from the most restrictive one if a parent group is
    /// fuller.
    /// </summary>
    public (long Bytes, string File) Lowest { get; init; } = (Limit, File);

    private const string Mount = "/sys/fs/cgroup";

    /// <summary>
    /// Without a limit, version 1 has the largest number of whole pages, and version 2 has <c>max</c>, which is not a
    /// number.
    /// </summary>
    private const long NoLimit = 1L << 62;

    /// <summary>Reads the limits; null if there is none, or if none can be read.</summary>
    public static CgroupMemory? Read() => Read("/proc/self/cgroup", Mount);

    /// <inheritdoc cref="Read()"/>
    /// <param name="membership">The file with the process's groups.</param>
    /// <param name="mount">Where the groups are mounted.</param>
    public static CgroupMemory? Read(string membership, string mount)
    {
        if (!System.IO.File.Exists(membership))
            return null;
        CgroupMemory? tightest = null;
        foreach (string line in System.IO.File.ReadLines(membership))
        {
            // "0::/path" for version 2, "4:memory:/path" for version 1.
            string[] parts = line.Split(':', 3);
            if (parts is ["0", "", _])
                tightest = TightestOf(tightest, mount, parts[2], Version2);
            else if (parts.Length == 3 && parts[1].Split(',').Contains("memory"))
                tightest = TightestOf(tightest, Path.Combine(mount, "memory"), parts[2], Version1);
        }
        return tightest;
    }

    private static readonly FileNames Version2 = new("memory.max", "memory.current", "inactive_file");

    private static readonly FileNames Version1 = new("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");

    private static CgroupMemory? TightestOf(CgroupMemory? tightest, string root, string group, FileNames names)
    {
        // Within a container the path may be that of the host, which is not mounted; then the root is the container's own group.
        for (string? path = group.Trim('/'); path is not null; path = path.Length == 0 ? null : Path.GetDirectoryName(path) ?? "")
        {
            string folder = Path.Combine(root, path);
            string file = Path.Combine(folder, names.Limit);
            if (ReadNumber(file) is not { } limit || limit >= NoLimit)
                continue;
            long used = ReadNumber(Path.Combine(folder, names.Usage)) ?? 0;
            long available = Math.Clamp(limit - used + ReadStatistic(Path.Combine(folder, "memory.stat"), names.DroppableCache), 0, limit);
            (long Bytes, string File) lowest = tightest is null || limit < tightest.Lowest.Bytes ? (limit, file) : tightest.Lowest;
            if (tightest is null || available < tightest.Available)
                tightest = new CgroupMemory(limit, available, file);
            tightest = tightest with { Lowest = lowest };
        }
        return tightest;
    }

    private static long? ReadNumber(string file) =>
        System.IO.File.Exists(file) && long.TryParse(System.IO.File.ReadAllText(file).AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            ? number
            : null;

    private static long ReadStatistic(string file, string name)
    {
        if (!System.IO.File.Exists(file))
            return 0;
        foreach (string line in System.IO.File.ReadLines(file))
        {
            if (line.Length > name.Length && line[name.Length] == ' ' && line.StartsWith(name, StringComparison.Ordinal))
                return long.Parse(line.AsSpan(name.Length + 1), CultureInfo.InvariantCulture);
        }
        return 0;
    }

    private sealed record FileNames(string Limit, string Usage, string DroppableCache);
}
