using System.CommandLine;

namespace WorkerService;

/// <summary>A switch or an option can't be used.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A short name of a setting.</summary>
/// <param name="Name">Its name, with two dashes before it.</param>
/// <param name="Key">The setting's path in the configuration.</param>
/// <param name="Takes">What it takes, for the help; empty: nothing, and the setting becomes <see cref="Set"/>.</param>
/// <param name="Help">What it does.</param>
internal sealed record Switch(string Name, string Key, string Takes, string Help)
{
    /// <summary>What the setting becomes by a switch that takes nothing.</summary>
    public string Set { get; init; } = "true";
}

/// <summary>The arguments of a sample: switches, and any other setting of its sections by its path, <c>--Section:Key=value</c>; they go over appsettings.json.</summary>
/// <remarks>A switch that is unknown is refused, which the configuration system would not do: a typing error has no silent effect.</remarks>
internal sealed class CommandLine(string description, Switch[] switches, params string[] sections)
{
    /// <summary>Reads the arguments.</summary>
    /// <param name="arguments">The process's.</param>
    /// <param name="settings">What was set, by its path in the configuration.</param>
    /// <returns>An exit code where there is nothing more to do; else null.</returns>
    public int? Parse(string[] arguments, out Dictionary<string, string?> settings)
    {
        settings = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        var root = new RootCommand($"{description} Any other setting of appsettings.json: --Section:Key=VALUE") { TreatUnmatchedTokensAsErrors = false };
        Option[] options = Array.ConvertAll(switches, s => s.Takes.Length == 0 ? (Option)new Option<bool>(s.Name) { Description = s.Help } : new Option<string>(s.Name) { Description = s.Help, HelpName = s.Takes });
        Array.ForEach(options, root.Add);
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count == 0 && parsed.Action is not null)
            return parsed.Invoke();
        try
        {
            if (parsed.Errors.Count > 0)
                throw new UsageException(parsed.Errors[0].Message);
            foreach ((Switch one, Option option) in switches.Zip(options))
            {
                if (parsed.GetResult(option) is { Implicit: false })
                    settings[one.Key] = option is Option<string> text ? parsed.GetValue(text) : parsed.GetValue((Option<bool>)option) ? one.Set : "false";
            }
            var rest = new Queue<string>(parsed.UnmatchedTokens);
            while (rest.TryDequeue(out string? token))
                ReadSetting(token, rest, settings);
            return null;
        }
        catch (UsageException e)
        {
            Console.Error.WriteLine($"error: {e.Message}");
            return 2;
        }
    }

    /// <summary>Begins a host of these settings over appsettings.json, which stands beside the program.</summary>
    /// <exception cref="UsageException">The file can't be read.</exception>
    public static HostApplicationBuilder CreateBuilder(Dictionary<string, string?> settings)
    {
        // Nothing is reloaded when the file changes; watching it would only use up one of the user's few inotify instances.
        var configuration = new ConfigurationManager();
        configuration.AddInMemoryCollection([new("hostBuilder:reloadConfigOnChange", "false")]);
        try
        {
            HostApplicationBuilder builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { Configuration = configuration, ContentRootPath = AppContext.BaseDirectory });
            builder.Configuration.AddInMemoryCollection(settings);
            // The standard output is for results.
            builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
            return builder;
        }
        catch (InvalidDataException e)
        {
            throw new UsageException($"{e.Message} {e.InnerException?.Message}");
        }
    }

    private void ReadSetting(string token, Queue<string> rest, Dictionary<string, string?> settings)
    {
        string[] parts = token.Split('=', 2);
        if (!Array.Exists(sections, s => parts[0].StartsWith($"--{s}:", StringComparison.OrdinalIgnoreCase)))
        {
            Switch near = switches.MaxBy(s => s.Name.AsSpan().CommonPrefixLength(parts[0]))!;
            throw new UsageException($"'{parts[0]}' is not a switch of this sample; {(near.Name.AsSpan().CommonPrefixLength(parts[0]) >= 4 ? $"did you mean {near.Name}?" : "--help lists them.")}");
        }
        settings[parts[0][2..]] = parts.Length == 2 ? parts[1] : rest.TryDequeue(out string? value) ? value : throw new UsageException($"{parts[0]} needs a value: {parts[0]}=VALUE.");
    }
}
