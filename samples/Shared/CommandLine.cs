namespace Samples;

/// <summary>A switch or an option can't be used.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A short name of a setting, which has its path in the configuration. One that takes nothing sets it to the value that is given here.</summary>
internal sealed record Switch(string Name, string Key, string Takes, string Help, string Set = "true");

/// <summary>The arguments of a sample: switches, and any other setting of its sections by its path, <c>--Section:Key=value</c>; they go over appsettings.json.</summary>
/// <remarks>A switch that is unknown is refused, which the configuration system would not do: a typing error has no silent effect.</remarks>
internal sealed class CommandLine(string description, Switch[] switches, params string[] sections)
{
    /// <summary>Writes each argument as <c>--Section:Key=value</c>.</summary>
    /// <returns>The arguments; null where help was asked for, which has been shown.</returns>
    /// <exception cref="UsageException">A switch is unknown, or has no value.</exception>
    public string[]? Parse(string[] arguments)
    {
        if (arguments.Any(a => a is "--help" or "-h" or "-?"))
        {
            Console.WriteLine($"{description} Any other setting of appsettings.json: --Section:Key=VALUE\n");
            Array.ForEach(switches, s => Console.WriteLine($"  {$"{s.Name} {s.Takes}",-20} {s.Help}"));
            return null;
        }
        var rest = new Queue<string>(arguments);
        List<string> settings = [];
        while (rest.TryDequeue(out string? argument))
        {
            string[] parts = argument.Split('=', 2);
            Switch? known = Array.Find(switches, s => s.Name == parts[0]);
            if (known is null && !Array.Exists(sections, s => parts[0].StartsWith($"--{s}:", StringComparison.OrdinalIgnoreCase)))
            {
                Switch near = switches.MaxBy(s => s.Name.AsSpan().CommonPrefixLength(parts[0]))!;
                string hint = near.Name.AsSpan().CommonPrefixLength(parts[0]) >= 4 ? $"did you mean {near.Name}?" : "--help lists them.";
                throw new UsageException($"'{parts[0]}' is not a switch of this sample; {hint}");
            }
            string value = parts.Length == 2 ? parts[1]
                : known?.Takes.Length == 0 ? known.Set
                : rest.TryPeek(out string? next) && !next.StartsWith("--", StringComparison.Ordinal) ? rest.Dequeue()
                : throw new UsageException($"{parts[0]} needs a value: {parts[0]}={known?.Takes ?? "VALUE"}.");
            settings.Add($"--{known?.Key ?? parts[0][2..]}={value}");
        }
        return [.. settings];
    }

    /// <summary>Begins a host of these arguments over appsettings.json, which stands beside the program.</summary>
    public static HostApplicationBuilder CreateBuilder(string[] arguments)
    {
        // Nothing is reloaded when the file changes; watching it would only use up one of the user's few inotify instances.
        var settings = new HostApplicationBuilderSettings { Args = ["--hostBuilder:reloadConfigOnChange=false", .. arguments], ContentRootPath = AppContext.BaseDirectory };
        HostApplicationBuilder builder = Host.CreateApplicationBuilder(settings);
        // The standard output is for results.
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        return builder;
    }
}
