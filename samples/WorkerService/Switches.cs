using System.CommandLine;
using System.Globalization;

namespace WorkerService;

/// <summary>The switches: short names of the common settings. Any other setting goes by its path, <c>--Section:Key=value</c>.</summary>
/// <remarks>A switch that is unknown is refused, which the configuration system would not do: a typing error has no silent effect.</remarks>
internal static class Switches
{
    private static readonly string[] Sections = ["AllocTools", "Locked", "Transfer", "Telemetry", "Logging"];

    private static readonly (string Name, string Key, string Value, string Help)[] All =
    [
        ("--file", "Transfer:File", "PATH", "the file to send (default: the largest one below the .NET installation)"),
        ("--output", "Transfer:OutputDirectory", "DIR", "where the received file is kept (default: a new temporary directory)"),
        ("--overwrite", "Transfer:Overwrite", "", "a received file may take the place of one of its name"),
        ("--resume", "Transfer:Resume", "", "keep what has come when a transfer ends early, and go on from there the next time"),
        ("--provider", "AllocTools:Provider:Provider", "NAME", "libfabric's provider: tcp;ofi_rxm (default), shm, sockets, verbs;ofi_rxm, efa, ...; or ucx; or mpi, under mpirun -n 2"),
        ("--node", "AllocTools:Provider:Node", "ADDRESS", "this machine's address on the fabric (default: 127.0.0.1); UCX has devices"),
        ("--domain", "AllocTools:Provider:Domain", "NAME", "the device or interface, such as mlx5_0"),
        ("--role", "Transfer:Role", "ROLE", "both (default: two processes on this machine), receiver, sender; load or drill to try dashboards"),
        ("--peer", "Transfer:Peer", "TICKET", "for the sender: what the receiver printed"),
        ("--chunk-size", "Transfer:ChunkSize", "SIZE", "how much one write moves, such as 256 KiB (default: 512 KiB)"),
        ("--in-flight", "Transfer:InFlight", "N", "how many chunks may be on their way"),
        ("--timeout", "Transfer:Timeout", "SECONDS", "how long an operation may take (default: 10)"),
        ("--live", "Transfer:Live", "", "show the pools on the terminal, again each second"),
        ("--prometheus", "Telemetry:Prometheus", "URL", "where Prometheus may scrape, such as http://127.0.0.1:9464/metrics"),
        ("--verbose", "Logging:LogLevel:Default", "", "log more, and print where errors come from"),
    ];

    /// <summary>Reads the arguments.</summary>
    /// <param name="arguments">The process's.</param>
    /// <param name="settings">What was set, by its path in the configuration.</param>
    /// <returns>An exit code where there is nothing more to do; else null.</returns>
    public static int? Parse(string[] arguments, out IReadOnlyDictionary<string, string?> settings)
    {
        var found = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        settings = found;
        var root = new RootCommand("Moves a file through registered memory, and says what the pool saved. Any other setting of appsettings.json: --Section:Key=VALUE") { TreatUnmatchedTokensAsErrors = false };
        Option[] options = Array.ConvertAll(All, s => s.Value.Length == 0 ? (Option)new Option<bool>(s.Name) { Description = s.Help } : new Option<string>(s.Name) { Description = s.Help, HelpName = s.Value });
        Array.ForEach(options, root.Add);
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count == 0 && parsed.Action is not null)
            return parsed.Invoke();
        string? error = parsed.Errors.Count > 0 ? parsed.Errors[0].Message : null;
        for (int i = 0; i < options.Length; i++)
        {
            if (parsed.GetResult(options[i]) is not { Implicit: false } given || error is not null)
                continue;
            string value = options[i] is Option<string> text ? parsed.GetValue(text)! : given.GetRequiredValue((Option<bool>)options[i]) ? "true" : "false";
            if (All[i].Name == "--verbose")
                value = "Debug";
            // A bare number in the configuration would be days.
            if (All[i].Name == "--timeout")
                value = double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and < 1e6 ? TimeSpan.FromSeconds(seconds).ToString() : Wrong($"--timeout is '{value}'; it must be a number of seconds.");
            found[All[i].Key] = value;
        }
        for (int i = 0; i < parsed.UnmatchedTokens.Count && error is null; i++)
        {
            string[] parts = parsed.UnmatchedTokens[i].Split('=', 2);
            if (!Array.Exists(Sections, s => parts[0].StartsWith($"--{s}:", StringComparison.OrdinalIgnoreCase)))
                error = $"'{parts[0]}' is not a switch of this sample; {(Array.Find(All, s => IsNear(s.Name, parts[0])).Name is { } near ? $"did you mean {near}?" : "--help lists them.")}";
            else if (parts.Length == 1 && ++i == parsed.UnmatchedTokens.Count)
                error = $"{parts[0]} needs a value: {parts[0]}=VALUE.";
            else
                found[parts[0][2..]] = parts.Length == 2 ? parts[1] : parsed.UnmatchedTokens[i];
        }
        if (error is null)
            return null;
        Console.Error.WriteLine($"error: {error}");
        return Report.Usage;

        // One letter more, less or other, or two that have changed places.
        static bool IsNear(string name, string given)
        {
            int same = name.Zip(given).TakeWhile(static p => p.First == p.Second).Count();
            string left = name[same..], right = given[same..];
            return left.Skip(1).SequenceEqual(right) || left.SequenceEqual(right.Skip(1)) || left.Skip(1).SequenceEqual(right.Skip(1))
                || (left is [var a, var b, .. var rest] && right is [var c, var d, .. var other] && a == d && b == c && rest == other);
        }

        string Wrong(string what)
        {
            error = what;
            return "";
        }
    }
}
