using System.CommandLine;
using System.CommandLine.Parsing;
using AllocTools.Hosting.Configuration;

namespace AllocTools.Doctor;

/// <summary>The arguments can't be used; the message is the line that the user reads.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The program <c>alloctools</c>: its commands, and what it says of wrong usage.</summary>
public static class AllocToolsCommand
{
    private const int WrongUsage = 2;

    /// <summary>Runs it.</summary>
    /// <param name="arguments">The program's arguments.</param>
    /// <returns>The exit code: what the command says, and 2 for arguments that can't be used.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        var root = new RootCommand("Tools for AllocTools: is this machine ready (doctor).") { DoctorCommand.Create() };
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        try
        {
            if (parsed.UnmatchedTokens is [var unknown, ..])
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
    }

    private static string Unknown(Command command, string token)
    {
        bool isOption = token.StartsWith('-');
        string name = token.Split('=', ':')[0];
        string[] known = isOption ? [.. command.Options.Where(static o => !o.Hidden).Select(static o => o.Name)] : [.. command.Subcommands.Select(static c => c.Name)];
        string? near = known.MinBy(k => SectionReader.Distance(k, name));
        string hint = near is not null && SectionReader.Distance(near, name) <= Math.Max(2, name.Length / 3) ? $"Did you mean {near}?" : $"`{(command is RootCommand ? "alloctools" : $"alloctools {command.Name}")} --help` lists what there is.";
        return $"Unknown {(isOption ? "option" : "command or argument")} '{name}'. {hint}";
    }
}
