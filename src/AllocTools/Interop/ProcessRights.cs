using System.Globalization;

namespace AllocTools.Interop;

/// <summary>What this process may do (capabilities(7), user_namespaces(7)), as /proc says (Linux).</summary>
internal sealed record ProcessRights
{
    /// <summary>The effective capabilities, a bit each.</summary>
    public ulong Effective { get; init; }

    /// <summary>Those that the process, or a program that it starts, may get.</summary>
    public ulong Bounding { get; init; }

    /// <summary>A program's file gives no capabilities.</summary>
    public bool NoNewPrivileges { get; init; }

    /// <summary>The effective user.</summary>
    public string UserId { get; init; } = "";

    /// <summary>Its user namespace is not the system's own.</summary>
    public bool IsInUserNamespace { get; init; }

    public bool HasEffective(int capability) => (Effective >> capability & 1) != 0;

    public bool HasBounding(int capability) => (Bounding >> capability & 1) != 0;

    /// <summary>Reads them; null where /proc is not there.</summary>
    /// <param name="process">The process's folder.</param>
    public static ProcessRights? Read(string process = "/proc/self")
    {
        string status = Path.Combine(process, "status");
        string userMap = Path.Combine(process, "uid_map");
        if (!File.Exists(status))
            return null;
        var fields = File.ReadLines(status)
            .Select(line => line.Split(':', 2))
            .Where(parts => parts.Length == 2)
            .ToDictionary(parts => parts[0], parts => parts[1].Trim(), StringComparer.Ordinal);
        return new ProcessRights
        {
            Effective = Mask("CapEff"),
            Bounding = Mask("CapBnd"),
            NoNewPrivileges = fields.GetValueOrDefault("NoNewPrivs") == "1",
            // Real, effective, saved and file system's.
            UserId = fields.GetValueOrDefault("Uid", "").Split('\t') is [_, var effective, ..] ? effective : "",
            IsInUserNamespace = File.Exists(userMap)
                && File.ReadAllText(userMap).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is not ["0", "0", "4294967295"],
        };

        ulong Mask(string name) =>
            ulong.TryParse(fields.GetValueOrDefault(name), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
    }
}
