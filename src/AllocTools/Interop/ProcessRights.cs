using System.Globalization;

namespace AllocTools.Interop;

/// <summary>The rights of this process (capabilities(7), user_namespaces(7)), as /proc reports them (Linux).</summary>
internal sealed record ProcessRights
{
    /// <summary>The effective capabilities, one bit each.</summary>
    public ulong Effective { get; init; }

    /// <summary>The capabilities that the process, or a program that it starts, may acquire.</summary>
    public ulong Bounding { get; init; }

    /// <summary>Whether a program's file can't grant capabilities.</summary>
    public bool NoNewPrivileges { get; init; }

    /// <summary>The effective user.</summary>
    public string UserId { get; init; } = "";

    /// <summary>Whether the process's user namespace is not the system's own.</summary>
    public bool IsInUserNamespace { get; init; }

    public bool HasEffective(int capability) => (Effective >> capability & 1) != 0;

    public bool HasBounding(int capability) => (Bounding >> capability & 1) != 0;

    /// <summary>Reads the rights; null if /proc does not exist.</summary>
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
            // The fields are the real, effective, saved and file system's user.
            UserId = fields.GetValueOrDefault("Uid", "").Split('\t') is [_, var effective, ..] ? effective : "",
            IsInUserNamespace = File.Exists(userMap)
                && File.ReadAllText(userMap).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is not ["0", "0", "4294967295"],
        };

        ulong Mask(string name) =>
            ulong.TryParse(fields.GetValueOrDefault(name), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
    }
}
