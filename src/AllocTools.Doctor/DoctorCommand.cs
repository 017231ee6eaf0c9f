using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using AllocTools.Hosting.Configuration;
using Microsoft.Extensions.Configuration;
using Spectre.Console;

namespace AllocTools.Doctor;

/// <summary>
/// Examines whether a machine is ready for registered memory: the command <c>alloctools doctor</c>, and the same for a
/// program's own <c>--doctor</c>.
/// </summary>
/// <remarks>
/// Some checks load libraries that may crash or hang. Each of these runs in a separate process, which is this program
/// started again with the same arguments. Therefore a program's Main must call <see cref="Run"/> for these arguments,
/// and must not call it after anything that must not happen twice.
/// </remarks>
public static class DoctorCommand
{
    /// <summary>Examines the machine, and reports on standard output.</summary>
    /// <param name="options">The options of the examination.</param>
    /// <returns>The exit code: 0 if there is no problem, even if there are warnings; 1 if there is a problem.</returns>
    public static int Run(DoctorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        using var examination = new Examination(options);
        if (Environment.GetEnvironmentVariable(Examination.Variable) is { Length: > 0 } check)
        {
            examination.Answer(check);
            return 0;
        }
        DoctorReport report = examination.Run();
        if (options.Json)
            Console.Out.WriteLine(report.ToJson());
        else
            report.Write(Console.IsOutputRedirected ? null : AnsiConsole.Console);
        return report.ExitCode;
    }

    /// <summary>Creates the command <c>doctor</c> with its options.</summary>
    internal static Command Create()
    {
        var settings = new Option<FileInfo?>("--settings") { Description = "an appsettings.json, whose pool is validated as a host does it", HelpName = "FILE" };
        var section = new Option<string>("--section") { Description = "the pool's section in it", HelpName = "NAME", DefaultValueFactory = static _ => "AllocTools" };
        var provider = new Option<string>("--provider") { Description = "the provider that the program's AddRmaMemoryPool names", HelpName = "libfabric|ucx|mpi|host", DefaultValueFactory = static _ => "libfabric" };
        var lockBytes = new Option<string?>("--lock") { Description = "how much memory must be lockable, such as \"4 GiB\"", HelpName = "SIZE" };
        var node = new Option<string?>("--node") { Description = "an address of this machine that must be free to listen at", HelpName = "ADDRESS" };
        var service = new Option<string?>("--service") { Description = "the port for it", HelpName = "PORT" };
        var only = new Option<string[]>("--only") { Description = $"run only these checks, one or several: {string.Join(", ", Check.AllNames)}", HelpName = "CHECK,…", AllowMultipleArgumentsPerToken = true, CustomParser = static result => [.. result.Tokens.SelectMany(static t => SplitNames(t.Value))] };
        var root = new Option<DirectoryInfo?>("--root") { Description = "where /proc, /sys and /dev are (default: /)", HelpName = "DIR" };
        var json = new Option<bool>("--json") { Description = "report as JSON" };
        AllocToolsCommand.Limit(only, "--only", Check.AllNames, SplitNames);
        AllocToolsCommand.Limit(provider, "--provider", ["libfabric", "ucx", "mpi", "host"]);
        lockBytes.Validators.Add(static result =>
        {
            string text = result.GetValueOrDefault<string?>() ?? "";
            if (!ByteSize.TryParse(text, out long bytes) || bytes <= 0)
                result.AddError($"--lock is '{text}'; it must be {ByteSize.Format}.");
        });
        var command = new Command("doctor", "Examine whether this machine is ready: one line for each check, with advice. Exit code 0: no problem; 1: a problem; 2: wrong usage.")
        {
            settings, section, provider, lockBytes, node, service, only, root, json,
        };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(root) is { Exists: false } folder)
                throw new UsageException($"--root is '{folder}'; there is no such folder.");
            if (parsed.GetResult(section) is { Implicit: false } && parsed.GetValue(settings) is null)
                throw new UsageException("--section needs --settings: the section is that of a file.");
            if (parsed.GetValue(service) is not null && parsed.GetValue(node) is null)
                throw new UsageException("--service needs --node: the port is that of an address.");
            var options = new DoctorOptions
            {
                Provider = Enum.Parse<ProviderKind>(parsed.GetValue(provider)!, ignoreCase: true),
                LockBytes = ByteSize.TryParse(parsed.GetValue(lockBytes) ?? "", out long bytes) ? bytes : null,
                Node = parsed.GetValue(node),
                Service = parsed.GetValue(service),
                Only = parsed.GetValue(only) ?? [],
                Root = parsed.GetValue(root)?.FullName ?? "/",
                Json = parsed.GetValue(json),
            };
            if (parsed.GetValue(settings) is { } file)
            {
                string name = parsed.GetValue(section)!;
                options.Section = Load(file, out string? fault)?.GetSection(name);
                options.SettingsFault = fault;
                options.Place = $"section '{name}' of {file.Name}";
            }
            return Run(options);
        });
        return command;
    }

    /// <summary>
    /// Returns the start information of this program with its own arguments, and some more. Its standard input and
    /// output are pipes.
    /// </summary>
    internal static ProcessStartInfo StartThisProgram(params ReadOnlySpan<string> more)
    {
        string program = Environment.ProcessPath!;
        string[] arguments = Environment.GetCommandLineArgs();
        // If it was started as `dotnet Program.dll`, the program is dotnet.
        string[] first = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [arguments[0]] : [];
        return new ProcessStartInfo(program, [.. first, .. arguments[1..], .. more]) { RedirectStandardInput = true, RedirectStandardOutput = true };
    }

    private static string[] SplitNames(string list) => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>
    /// Reads the file. If it can't be read, returns null and the reason, which becomes part of the report.
    /// </summary>
    /// <exception cref="UsageException">The file does not exist.</exception>
    private static IConfigurationRoot? Load(FileInfo file, out string? fault)
    {
        fault = null;
        if (!file.Exists)
            throw new UsageException(Directory.Exists(file.FullName) ? $"--settings is '{file}', which is a folder; it must be a file." : $"--settings is '{file}'; there is no such file.");
        try
        {
            return new ConfigurationBuilder().AddJsonFile(file.FullName, optional: false, reloadOnChange: false).Build();
        }
        catch (InvalidDataException e)
        {
            fault = e.GetBaseException() switch
            {
                // The message ends with the line number, counted from 0.
                JsonException { LineNumber: { } line } json => $"{file}, line {line + 1}, is not valid JSON: {json.Message.Split(" LineNumber:")[0]}",
                var cause => $"{file} can't be read: {cause.Message}",
            };
            return null;
        }
    }
}
