using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using AllocTools.Doctor.Bench;
using AllocTools.Hosting.Configuration;

namespace AllocTools.Doctor;

/// <summary>Thrown if the arguments can't be used; the message is the line that the user reads.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The program <c>alloctools</c>, with its commands and its messages about wrong usage.</summary>
public static class AllocToolsCommand
{
    private const string Name = "alloctools";

    private const int CommandMissing = 1, WrongUsage = 2, Interrupted = 130;

    /// <summary>Runs the program.</summary>
    /// <param name="arguments">The program's arguments.</param>
    /// <returns>The exit code: that of the command, 1 without a command, 2 for arguments that can't be used, and 130 after Ctrl+C.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        // The name is that of the command, and not of the file, which a RootCommand would use.
        var root = new Command(Name, "Tools for AllocTools: is this machine ready (doctor), and how fast is it (bench).") { new HelpOption(), new VersionOption(), DoctorCommand.Create(), BenchCommand.Create() };
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (arguments.Length == 0)
        {
            // The tools of .NET do the same.
            Console.Error.WriteLine("A command is missing.");
            await root.Parse("--help").InvokeAsync().ConfigureAwait(false);
            return CommandMissing;
        }
        try
        {
            // If a command accepts arguments, an unknown option would become one of them.
            if (parsed.UnmatchedTokens.Concat(parsed.Tokens.Where(static t => t.Type == TokenType.Argument && t.Value.StartsWith("--", StringComparison.Ordinal)).Select(static t => t.Value)).FirstOrDefault() is { } unknown)
                throw new UsageException(Unknown(parsed.CommandResult.Command, unknown));
            if (parsed.Errors is [var error, ..])
                throw new UsageException(error.Message);
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false }).ConfigureAwait(false);
        }
        catch (UsageException e)
        {
            Console.Error.WriteLine(OneLine(e.Message));
            return WrongUsage;
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
    }

    /// <summary>Returns a text that may come from elsewhere as one line without control characters.</summary>
    internal static string OneLine(string text) => string.Join(' ', text.Split([.. text.Where(char.IsControl)], StringSplitOptions.RemoveEmptyEntries)).Trim();

    /// <summary>Restricts an option to certain values.</summary>
    /// <param name="option">The option.</param>
    /// <param name="what">The name of the option's value in the message.</param>
    /// <param name="values">The values that the option accepts.</param>
    /// <param name="split">Splits one word of the command line into values, if it may be a list.</param>
    internal static void Limit(Option<string[]> option, string what, IReadOnlyList<string> values, Func<string, string[]>? split = null) => option.Validators.Add(result => Refuse(result, what, values, split));

    /// <inheritdoc cref="Limit(Option{string[]}, string, IReadOnlyList{string}, Func{string, string[]}?)"/>
    internal static void Limit(Option<string> option, string what, IReadOnlyList<string> values) => option.Validators.Add(result => Refuse(result, what, values));

    /// <inheritdoc cref="Limit(Option{string[]}, string, IReadOnlyList{string}, Func{string, string[]}?)"/>
    internal static void Limit(Argument<string[]> argument, string what, IReadOnlyList<string> values) => argument.Validators.Add(result => Refuse(result, what, values));

    private static void Refuse(SymbolResult result, string what, IReadOnlyList<string> values, Func<string, string[]>? split = null)
    {
        if (result.Tokens.SelectMany(t => split?.Invoke(t.Value) ?? [t.Value]).FirstOrDefault(t => !values.Contains(t)) is { } wrong)
            result.AddError($"{what} is '{wrong}'. {Suggest(values, wrong) ?? $"It must be one of {string.Join(", ", values)}."}");
    }

    private static string? Suggest(IReadOnlyList<string> known, string name) =>
        known.MinBy(k => SectionReader.Distance(k, name)) is { } near && SectionReader.Distance(near, name) <= Math.Max(2, name.Length / 3) ? $"Did you mean {near}?" : null;

    private static string Unknown(Command command, string token)
    {
        bool isOption = token.StartsWith('-');
        string name = token.Split('=', ':')[0];
        string[] known = isOption ? [.. command.Options.Where(static o => !o.Hidden).Select(static o => o.Name)] : [.. command.Subcommands.Select(static c => c.Name)];
        string hint = Suggest(known, name) ?? $"`{(command.Name == Name ? Name : $"{Name} {command.Name}")} --help` lists what there is.";
        return $"Unknown {(isOption ? "option" : "command or argument")} '{name}'. {hint}";
    }
}
