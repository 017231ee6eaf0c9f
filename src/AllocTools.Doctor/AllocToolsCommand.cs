using System.CommandLine;
using System.CommandLine.Parsing;
using AllocTools.Doctor.Bench;
using AllocTools.Hosting.Configuration;

namespace AllocTools.Doctor;

/// <summary>The arguments can't be used; the message is the line that the user reads.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The program <c>alloctools</c>: its commands, and what it says of wrong usage.</summary>
public static class AllocToolsCommand
{
    private const int WrongUsage = 2, Interrupted = 130;

    /// <summary>Runs it.</summary>
    /// <param name="arguments">The program's arguments.</param>
    /// <returns>The exit code: what the command says, 2 for arguments that can't be used, and 130 after Ctrl+C.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        var root = new RootCommand("Tools for AllocTools: is this machine ready (doctor), and how fast is it (bench).") { DoctorCommand.Create(), BenchCommand.Create() };
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        try
        {
            // Where a command takes arguments an unknown option would be one of them.
            if (parsed.UnmatchedTokens.Concat(parsed.Tokens.Where(static t => t.Type == TokenType.Argument && t.Value.StartsWith("--", StringComparison.Ordinal)).Select(static t => t.Value)).FirstOrDefault() is { } unknown)
                throw new UsageException(Unknown(parsed.CommandResult.Command, unknown));
            if (parsed.Errors is [var error, ..])
                throw new UsageException(error.Message.ReplaceLineEndings(" "));
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false }).ConfigureAwait(false);
        }
        catch (UsageException e)
        {
            Console.Error.WriteLine(e.Message);
            return WrongUsage;
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
    }

    /// <summary>Takes no other values.</summary>
    internal static void Limit(Option<string[]> option, string what, string[] values) => option.Validators.Add(result => Refuse(result, what, values));

    /// <inheritdoc cref="Limit(Option{string[]}, string, string[])"/>
    internal static void Limit(Option<string> option, string what, string[] values) => option.Validators.Add(result => Refuse(result, what, values));

    /// <inheritdoc cref="Limit(Option{string[]}, string, string[])"/>
    internal static void Limit(Argument<string[]> argument, string what, string[] values) => argument.Validators.Add(result => Refuse(result, what, values));

    private static void Refuse(SymbolResult result, string what, string[] values)
    {
        if (result.Tokens.Select(static t => t.Value).FirstOrDefault(t => !values.Contains(t)) is { } wrong)
            result.AddError($"{what} is '{wrong}'. {Suggest(values, wrong) ?? $"It must be one of {string.Join(", ", values)}."}");
    }

    private static string? Suggest(string[] known, string name) =>
        known.MinBy(k => SectionReader.Distance(k, name)) is { } near && SectionReader.Distance(near, name) <= Math.Max(2, name.Length / 3) ? $"Did you mean {near}?" : null;

    private static string Unknown(Command command, string token)
    {
        bool isOption = token.StartsWith('-');
        string name = token.Split('=', ':')[0];
        string[] known = isOption ? [.. command.Options.Where(static o => !o.Hidden).Select(static o => o.Name)] : [.. command.Subcommands.Select(static c => c.Name)];
        string hint = Suggest(known, name) ?? $"`{(command is RootCommand ? "alloctools" : $"alloctools {command.Name}")} --help` lists what there is.";
        return $"Unknown {(isOption ? "option" : "command or argument")} '{name}'. {hint}";
    }
}
