using System.Globalization;

namespace AllocTools.Blocks;

/// <summary>The NUMA nodes of the system, from sysfs (Linux).</summary>
internal static class NumaNodes
{
    /// <summary>The kernel's own limit (CONFIG_NODES_SHIFT).</summary>
    public const int MostNodes = 1024;

    private const string Root = "/sys/devices/system/node";

    public static bool Exists(int node) => Directory.Exists(Path.Combine(Root, string.Create(CultureInfo.InvariantCulture, $"node{node}")));

    /// <summary>Describes the nodes, such as "the nodes 0-1".</summary>
    public static string Describe()
    {
        string online = Path.Combine(Root, "online");
        return File.Exists(online) ? $"the nodes {File.ReadAllText(online).Trim()}" : "no NUMA nodes";
    }
}
