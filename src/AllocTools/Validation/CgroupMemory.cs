using System.Globalization;

namespace AllocTools.Validation;

/// <summary>The memory limit of this process's control group (cgroups(7), versions 2 and 1), the lowest of it and those above it.</summary>
/// <param name="Bytes">The limit.</param>
/// <param name="File">Where it stands.</param>
internal sealed record CgroupMemory(long Bytes, string File)
{
    private const string Mount = "/sys/fs/cgroup";

    /// <summary>Reads it; null where there is none, or none can be read.</summary>
    public static CgroupMemory? Read() => Read("/proc/self/cgroup", Mount);

    /// <inheritdoc cref="Read()"/>
    /// <param name="membership">The file with the process's groups.</param>
    /// <param name="mount">Where the groups are mounted.</param>
    public static CgroupMemory? Read(string membership, string mount)
    {
        if (!System.IO.File.Exists(membership))
            return null;
        CgroupMemory? lowest = null;
        foreach (string line in System.IO.File.ReadLines(membership))
        {
            // "0::/path" for version 2, "4:memory:/path" for version 1.
            string[] parts = line.Split(':', 3);
            if (parts is ["0", "", _])
                lowest = LowestOf(lowest, mount, parts[2], "memory.max");
            else if (parts.Length == 3 && parts[1].Split(',').Contains("memory"))
                lowest = LowestOf(lowest, Path.Combine(mount, "memory"), parts[2], "memory.limit_in_bytes");
        }
        return lowest;
    }

    private static CgroupMemory? LowestOf(CgroupMemory? lowest, string root, string group, string file)
    {
        // Within a container the path may be the host's, which is not mounted: the root is the container's own group then.
        for (string? path = group.Trim('/'); path is not null; path = path.Length == 0 ? null : Path.GetDirectoryName(path) ?? "")
        {
            string candidate = Path.Combine(root, path, file);
            if (System.IO.File.Exists(candidate)
                && long.TryParse(System.IO.File.ReadAllText(candidate).AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long bytes)
                && bytes < (lowest?.Bytes ?? NoLimit))
            {
                lowest = new CgroupMemory(bytes, candidate);
            }
        }
        return lowest;
    }

    /// <summary>Version 1 says the largest number of whole pages for no limit; version 2 says <c>max</c>, which is no number.</summary>
    private const long NoLimit = 1L << 62;
}
