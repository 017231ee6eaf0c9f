using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace AllocTools.Doctor;

/// <summary>What an examination has found.</summary>
/// <param name="findings">In the order of the checks.</param>
/// <param name="surroundings">Where it ran, in words.</param>
internal sealed class DoctorReport(IReadOnlyList<Finding> findings, string surroundings)
{
    /// <summary>The form of the JSON; a higher number where a reader of this one could not read it.</summary>
    public int Format { get; } = 1;

    /// <summary>This library's version.</summary>
    public string Version { get; } = typeof(DoctorReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "";

    /// <summary>The system, such as <c>Debian GNU/Linux 12 (bookworm)</c>.</summary>
    public string System { get; } = RuntimeInformation.OSDescription;

    /// <summary>Where it ran, in words.</summary>
    public string Surroundings => surroundings;

    /// <summary>0 without problems, 1 with any.</summary>
    public int ExitCode => findings.Any(static f => f.Status == FindingStatus.Problem) ? 1 : 0;

    /// <summary>The findings.</summary>
    public IReadOnlyList<Finding> Findings => findings;

    public string ToJson() => JsonSerializer.Serialize(this, DoctorJson.Indented.DoctorReport);

    /// <summary>Writes a line for each finding, and one below it with the advice.</summary>
    /// <param name="console">A terminal: with colours. Null: plain text on the standard output.</param>
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
    /// <summary>For a process that reads one line.</summary>
    public static DoctorJson Lines { get; } = new(MakeOptions(isIndented: false));

    /// <summary>For people and programs; text as it is.</summary>
    public static DoctorJson Indented { get; } = new(MakeOptions(isIndented: true));

    private static JsonSerializerOptions MakeOptions(bool isIndented) => new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = isIndented,
    };
}
