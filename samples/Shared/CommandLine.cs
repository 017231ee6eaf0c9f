using System.CommandLine;
using System.Globalization;

namespace Samples;

/// <summary>A switch or an option is invalid.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A short name for a setting with a path in the configuration. A switch without a value sets it to <c>Set</c>.</summary>
internal sealed record Switch(string Name, string Key, string Takes, string Help, string Set = "true", bool IsCount = false)
{
    private const int Most = 1 << 20;

    /// <exception cref="UsageException">A count is not a number, or is out of its range.</exception>
    public string Check(string value) => !IsCount || (int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is > 0 and <= Most)
        ? value
        : throw new UsageException(string.Create(CultureInfo.InvariantCulture, $"{Name} is '{value}'; it must be a number between 1 and {Most:N0}."));
}

/// <summary>
/// The arguments of a sample: switches, and any other setting of its sections by its path, <c>--Section:Key=value</c>.
/// They override appsettings.json.
/// </summary>
/// <remarks>
/// Unknown switches are refused, unlike by the configuration system, so that a typing error has an effect
/// that is noticed.
/// </remarks>
internal sealed class CommandLine(string description, Switch[] switches, params string[] sections)
{
    /// <summary>Writes each argument as <c>--Section:Key=value</c>.</summary>
    /// <returns>The arguments; null if help was requested, which has been shown.</returns>
    /// <exception cref="UsageException">A switch is unknown, or has no value.</exception>
    public string[]? Parse(string[] arguments)
    {
        var root = new RootCommand($"{description} Any other setting of appsettings.json: --Section:Key=VALUE") { TreatUnmatchedTokensAsErrors = false };
        Option[] options = Array.ConvertAll(switches, static s => s.Takes.Length == 0
            ? (Option)new Option<bool>(s.Name) { Description = s.Help }
            : new Option<string>(s.Name) { Description = s.Help, HelpName = s.Takes });
        Array.ForEach(options, root.Add);
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors is [var error, ..])
            throw new UsageException(error.Message);
        if (parsed.Action is not null)
        {
            // The usage text of a command that accepts unmatched arguments has a line about them, in brackets that
            // don't fit. The description covers them already.
            root.TreatUnmatchedTokensAsErrors = true;
            parsed.Invoke();
            return null;
        }
        List<string> settings = [];
        for (int i = 0; i < switches.Length; i++)
        {
            if (parsed.GetResult(options[i]) is { Implicit: false } given && (options[i] is Option<string> text ? switches[i].Check(parsed.GetValue(text)!) : given.GetValueOrDefault<bool>() ? switches[i].Set : null) is { } value)
                settings.Add($"--{switches[i].Key}={value}");
        }
        var rest = new Queue<string>(parsed.UnmatchedTokens);
        while (rest.TryDequeue(out string? argument))
        {
            string[] parts = argument.Split('=', 2);
            if (!Array.Exists(sections, s => parts[0].StartsWith($"--{s}:", StringComparison.OrdinalIgnoreCase)))
            {
                Switch near = switches.MaxBy(s => s.Name.AsSpan().CommonPrefixLength(parts[0]))!;
                string hint = near.Name.AsSpan().CommonPrefixLength(parts[0]) >= 4 ? $"Did you mean {near.Name}?" : "--help lists the options.";
                throw new UsageException($"Unknown option '{parts[0]}'. {hint}");
            }
            if (parts.Length == 1 && rest.Count == 0)
                throw new UsageException($"{parts[0]} needs a value: {parts[0]}=VALUE.");
            settings.Add($"{parts[0]}={(parts.Length == 2 ? parts[1] : rest.Dequeue())}");
        }
        return [.. settings];
    }

    /// <summary>Creates a host builder with these arguments over the appsettings.json that is beside the program.</summary>
    public static HostApplicationBuilder CreateBuilder(string[] arguments)
    {
        // Nothing is reloaded when the file changes; watching it would only use one of the user's few inotify
        // instances.
        var settings = new HostApplicationBuilderSettings { Args = ["--hostBuilder:reloadConfigOnChange=false", .. arguments], ContentRootPath = AppContext.BaseDirectory };
        HostApplicationBuilder builder = Host.CreateApplicationBuilder(settings);
        // The standard output is reserved for results.
        builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        return builder;
    }
}
