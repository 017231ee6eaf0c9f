using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace AllocTools.Doctor;

/// <summary>The report of an examination.</summary>
/// <param name="findings">The findings, in the order of the checks.</param>
/// <param name="surroundings">The place where it ran, in words.</param>
internal sealed class DoctorReport(IReadOnlyList<Finding> findings, string surroundings)
{
    /// <summary>The version of the JSON's format. It increases when a reader of this version could not read the JSON.</summary>
    public int Format { get; } = 1;

    /// <summary>This library's version.</summary>
    public string Version { get; } = typeof(DoctorReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "";

    /// <summary>The system, such as <c>Debian GNU/Linux 12 (bookworm)</c>.</summary>
    public string System { get; } = RuntimeInformation.OSDescription;

    /// <summary>The place where it ran, in words.</summary>
    public string Surroundings => surroundings;

    /// <summary>0 if there are no problems, 1 if there are any.</summary>
    public int ExitCode => findings.Any(static f => f.Status == FindingStatus.Problem) ? 1 : 0;

    /// <summary>The findings.</summary>
    public IReadOnlyList<Finding> Findings => findings;

    public string ToJson() => JsonSerializer.Serialize(this, DoctorJson.Indented.DoctorReport);

    /// <summary>Writes a line for each finding, and a line below it with the advice.</summary>
    /// <param name="console">A terminal, for colours; null for plain text on standard output.</param>
    public void Write(IAnsiConsole? console)
    {
        int width = findings.Count == 0 ? 0 : findings.Max(static f => f.Check.Length);
        Grid grid = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn(new GridColumn().NoWrap()).AddColumn();
        foreach (Finding finding in findings)
        {
            (string word, string colour) = finding.Status switch
            {
                FindingStatus.Ok => ("ok", "green"),
                FindingStatus.Warning => ("warning", "yellow"),
                FindingStatus.Problem => ("problem", "red"),
                _ => ("-", "grey"),
            };
            string advice = finding.Advice is null ? "" : "→ " + finding.Advice;
            grid.AddRow($"[{colour}]{word}[/]", Markup.Escape(finding.Check), Markup.Escape(finding.Message));
            if (advice.Length > 0)
                grid.AddRow("", "", Markup.Escape(advice));
            if (console is null)
                Console.Out.WriteLine($"{word,-7}  {finding.Check.PadRight(width)}  {finding.Message}{(advice.Length == 0 ? "" : $"\n{new string(' ', 11 + width)}{advice}")}");
        }
        console?.Write(grid);
        int problems = findings.Count(static f => f.Status == FindingStatus.Problem), warnings = findings.Count(static f => f.Status == FindingStatus.Warning);
        Console.Out.WriteLine($"{Validation.InWords.Count(problems, "problem", "problems")}, {Validation.InWords.Count(warnings, "warning", "warnings")}; examined as {surroundings}.");
    }
}

[JsonSerializable(typeof(DoctorReport))]
[JsonSerializable(typeof(Finding[]))]
internal sealed partial class DoctorJson : JsonSerializerContext
{
    /// <summary>The format for a process that reads one line.</summary>
    public static DoctorJson Lines { get; } = new(MakeOptions(isIndented: false));

    /// <summary>The format for people and programs, with text unescaped.</summary>
    public static DoctorJson Indented { get; } = new(MakeOptions(isIndented: true));

    private static JsonSerializerOptions MakeOptions(bool isIndented) => new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = isIndented,
    };
}
