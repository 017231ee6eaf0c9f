using System.Globalization;
using AllocTools.Validation;

namespace AllocTools.Blocks;

/// <summary>The system's reserved huge pages, from /proc/meminfo (Linux).</summary>
internal static class HugePages
{
    private const string Table = "/proc/meminfo";

    /// <summary>The size of a huge page in bytes; null if the system has none.</summary>
    public static int? DefaultSize => Read("Hugepagesize:") is { } kibibytes and > 0 ? checked((int)(kibibytes * 1024)) : null;

    /// <summary>The bytes of all reserved huge pages, used or not.</summary>
    public static long ReservedBytes => (Read("HugePages_Total:") ?? 0) * (DefaultSize ?? 0);

    /// <summary>Explains why memory in huge pages could not be allocated, and what to do.</summary>
    public static string Missing(long length, int pageSize) =>
        $"HugePages is Explicit, and {InWords.Size(length)} need {InWords.Count(length / pageSize, "huge page", "huge pages")} of {InWords.Size(pageSize)}: {Read("HugePages_Free:") ?? 0} of {Read("HugePages_Total:") ?? 0} are free. "
        + "Reserve more (sysctl vm.nr_hugepages=COUNT), or set HugePages to Transparent.";

    private static long? Read(string name)
    {
        if (!File.Exists(Table))
            return null;
        foreach (string line in File.ReadLines(Table))
        {
            if (line.StartsWith(name, StringComparison.Ordinal)
                && long.TryParse(line.AsSpan(name.Length).Trim().TrimEnd("kB "), CultureInfo.InvariantCulture, out long value))
                return value;
        }
        return null;
    }
}
