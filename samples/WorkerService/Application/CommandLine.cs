using System.Globalization;
using System.Text;

namespace WorkerService.Application;

/// <summary>The switches: short names of the common settings. Any other setting goes by its path, <c>--Section:Key=value</c>.</summary>
/// <remarks>Strict where the configuration system is not: a switch that nobody knows is refused, so that a typing error has no silent effect.</remarks>
internal sealed class CommandLine
{
    private const string OverwriteSwitch = "--overwrite";
    private const string TimeoutSwitch = "--timeout";
    private const string VerboseSwitch = "--verbose";
    private static readonly string[] Sections = ["AllocTools", "Locked", "Transfer", "Telemetry", "Logging"];

    private static readonly (string Name, string Key, string Value, string Help)[] Switches =
    [
        ("--file", "Transfer:File", "PATH", "the file to send (default: the largest one below the .NET installation)"),
        ("--output", "Transfer:OutputDirectory", "DIR", "where the received file is kept (default: a new temporary directory)"),
        (OverwriteSwitch, "Transfer:Overwrite", "", "a received file may take the place of one of its name"),
        ("--provider", "AllocTools:Provider:Provider", "NAME", "libfabric's provider: tcp;ofi_rxm (default), shm, sockets, verbs;ofi_rxm, efa, ...; or ucx; or mpi, under mpirun -n 2"),
        ("--node", "AllocTools:Provider:Node", "ADDRESS", "this machine's address on the fabric (default: 127.0.0.1); UCX has devices"),
        ("--domain", "AllocTools:Provider:Domain", "NAME", "the device or interface, such as mlx5_0"),
        ("--role", "Transfer:Role", "ROLE", "both (default: two processes on this machine), receiver, sender; load or drill to try dashboards"),
        ("--peer", "Transfer:Peer", "TICKET", "for the sender: what the receiver printed"),
        ("--chunk-size", "Transfer:ChunkSize", "BYTES", "how much one write moves (default: 262144)"),
        ("--in-flight", "Transfer:InFlight", "N", "how many chunks may be on their way (default: 8)"),
        (TimeoutSwitch, "Transfer:Timeout", "SECONDS", "how long an operation may take (default: 10)"),
        ("--live", "Transfer:Live", "", "show the pools on the terminal, again each second"),
        ("--prometheus", "Telemetry:Prometheus", "URL", "where Prometheus may scrape, such as http://127.0.0.1:9464/metrics"),
        (VerboseSwitch, "Logging:LogLevel:Default", "", "log more, and print where errors come from"),
    ];

    private CommandLine(Dictionary<string, string?> settings, bool helpWanted)
    {
        Settings = settings;
        HelpWanted = helpWanted;
    }

    /// <summary>What was set, by its path in the configuration.</summary>
    public IReadOnlyDictionary<string, string?> Settings { get; }

    /// <summary>Only the help is wanted.</summary>
    public bool HelpWanted { get; }

    /// <summary>Where errors come from is wanted, too.</summary>
    public bool IsVerbose => Settings.TryGetValue("Logging:LogLevel:Default", out string? level) && level is "Debug" or "Trace";

    /// <summary>This process was started by another one of the sample.</summary>
    public bool IsStartedByParent =>
        Settings.TryGetValue($"Transfer:{nameof(TransferOptions.StartedByParent)}", out string? value) && bool.TryParse(value, out bool isSet) && isSet;

    /// <summary>The pools are shown on the terminal, which leaves no room for the progress of a file.</summary>
    public bool IsLive => Settings.TryGetValue($"Transfer:{nameof(TransferOptions.Live)}", out string? value) && bool.TryParse(value, out bool isSet) && isSet;

    /// <summary>What <c>--help</c> prints.</summary>
    public static string Help
    {
        get
        {
            var text = new StringBuilder("Moves a file through pooled, registered memory, and says what the pool saved.\n\nWorkerService [SWITCH]...\n");
            foreach ((string name, _, string value, string help) in Switches)
                text.Append(CultureInfo.InvariantCulture, $"  {$"{name} {value}".TrimEnd(),-20} {help}\n");
            text.Append("  --Section:Key=VALUE  any other setting of appsettings.json\n");
            return text.ToString();
        }
    }

    /// <summary>Reads the arguments.</summary>
    /// <exception cref="UsageException">One of them is not known, or lacks its value.</exception>
    public static CommandLine Parse(string[] arguments)
    {
        Dictionary<string, string?> settings = new(StringComparer.OrdinalIgnoreCase);
        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] is "--help" or "-h")
                return new CommandLine(settings, helpWanted: true);
            (string name, string? value) = Split(arguments[i]);
            (string _, string key, string valueName, _) = Find(name);
            if (valueName.Length == 0)
                value ??= name == VerboseSwitch ? "Debug" : "true";
            else if (value is null && i + 1 < arguments.Length && !arguments[i + 1].StartsWith("--", StringComparison.Ordinal))
                value = arguments[++i];
            if (value is null)
                throw new UsageException($"{name} needs a value: {name} {valueName}.");
            settings[key] = name == TimeoutSwitch ? ToSeconds(value) : value;
        }
        return new CommandLine(settings, helpWanted: false);
    }

    private static (string Name, string? Value) Split(string argument)
    {
        int at = argument.IndexOf('=', StringComparison.Ordinal);
        return at < 0 ? (argument, null) : (argument[..at], argument[(at + 1)..]);
    }

    private static (string Name, string Key, string Value, string Help) Find(string name)
    {
        int known = Array.FindIndex(Switches, s => s.Name == name);
        if (known >= 0)
            return Switches[known];
        bool isPath = name.StartsWith("--", StringComparison.Ordinal)
            && Sections.Any(s => name.AsSpan(2).StartsWith(s + ':', StringComparison.OrdinalIgnoreCase));
        return isPath ? (name, name[2..], "VALUE", "") : throw new UsageException($"'{name}' is not a switch of this sample; --help lists them.");
    }

    /// <summary>A bare number in the configuration would be days.</summary>
    private static string ToSeconds(string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and < 1e6
            ? TimeSpan.FromSeconds(seconds).ToString()
            : throw new UsageException($"{TimeoutSwitch} is '{value}'; it must be a number of seconds.");
}
