using System.Globalization;

namespace AllocTools.Interop;

/// <summary>Explains the limit of the system that an error number stands for, with its value, the current use, and what to do.</summary>
internal static class SystemShortage
{
    private const int TooManyInSystem = 23;
    private const int TooManyFiles = 24;
    private const int AddressInUse = 98;
    private const int AddressNotAvailable = 99;

    /// <summary>
    /// The number of file descriptors that must be free before an endpoint is opened. It uses about 13, and its
    /// connections more; the runtime aborts a .NET process without free descriptors when it starts the next thread.
    /// </summary>
    private const int SpareFiles = 64;

    /// <summary>Returns the limit that is the likely cause of an error; empty if none is known.</summary>
    /// <param name="error">The positive error number.</param>
    public static string Explain(int error) => error switch
    {
        SystemErrors.NoMemory when Mappings() is { } mappings => mappings,
        SystemErrors.NoMemory or SystemErrors.NotPermitted or SystemErrors.Again => MemoryLockLimit.Explain(error),
        TooManyFiles when OpenFiles() is { } files => $"{files.Text}, which is the likely cause. {RaiseOpenFiles}.",
        TooManyInSystem when ReadNumber("/proc/sys/fs/file-max") is { } most => $"fs.file-max is {most}, for all processes together, which is the likely cause. Raise it: sysctl fs.file-max.",
        _ => "",
    };

    /// <summary>Like <see cref="Explain"/>, but for an endpoint that requested a local port of the system's choice.</summary>
    public static string ExplainPort(int error) =>
        error is AddressInUse or AddressNotAvailable && LocalPorts() is { } range
            ? $"The system had no local port left to choose: net.ipv4.ip_local_port_range is {range}. Widen it (sysctl net.ipv4.ip_local_port_range=\"1024 65535\"), or close what holds ports (`ss -tan`)."
            : "";

    /// <summary>Explains why the process would run out of file descriptors if it opened an endpoint; null if it would not.</summary>
    public static string? ShortOfFiles() =>
        OpenFiles() is { } files && files.Limit - files.Open < SpareFiles
            ? $"{files.Text}, and {SpareFiles} must be free to open an endpoint: a .NET process that runs out of file descriptors is aborted. {RaiseOpenFiles}, or open fewer endpoints."
            : null;

    private const string RaiseOpenFiles =
        "Raise it: `ulimit -n 65536` in the shell, LimitNOFILE=65536 in a systemd unit, `--ulimit nofile=65536:65536` for docker run; in Kubernetes LimitNOFILE for the node's container runtime";

    private static (long Limit, long Open, string Text)? OpenFiles()
    {
        const string Folder = "/proc/self/fd";
        if (ResourceLimits.OpenFiles.Soft is not { } limit || !Directory.Exists(Folder))
            return null;
        long open = Directory.EnumerateFileSystemEntries(Folder).LongCount();
        return (limit, open, string.Create(CultureInfo.InvariantCulture, $"RLIMIT_NOFILE is {limit} and {open} file descriptors are in use"));
    }

    /// <summary>vm.max_map_count; null if the system does not report it.</summary>
    public static long? MostMappings => ReadNumber("/proc/sys/vm/max_map_count");

    /// <summary>Explains that the process uses nearly all of its permitted mappings; null if it does not.</summary>
    /// <remarks>
    /// Adjacent memory is one mapping, but memory that is locked or registered separately has a mapping of its own.
    /// This reads one line per mapping.
    /// </remarks>
    public static string? Mappings()
    {
        const string Maps = "/proc/self/maps";
        if (MostMappings is not { } most || !File.Exists(Maps))
            return null;
        long count = File.ReadLines(Maps).LongCount();
        return count >= most - most / 20
            ? $"vm.max_map_count is {most} and this process has {count} mappings; a .NET process that runs out of them is aborted. "
                + $"Raise it on the host: sysctl vm.max_map_count={Math.Max(1048576, 2 * most)}; or have fewer and larger slabs (MaxSlabBytes, larger size classes)."
            : null;
    }

    private static string? LocalPorts()
    {
        const string Range = "/proc/sys/net/ipv4/ip_local_port_range";
        return File.Exists(Range) && File.ReadAllText(Range).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [var first, var last]
            ? $"{first} to {last}"
            : null;
    }

    private static long? ReadNumber(string file) =>
        File.Exists(file) && long.TryParse(File.ReadAllText(file).AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;
}
