using System.Globalization;
using System.Text;
using Spectre.Console;

namespace AllocTools.Soak;

/// <summary>The result for people: a table on the terminal, and a document.</summary>
internal static class SoakReport
{
    private static readonly string[] Columns = ["process", "measure", "level", "slope per hour", "± standard error", "per cycle", "may grow by", "verdict"];

    public static void Print(IAnsiConsole console, SoakResult result)
    {
        // A file has no width, so use a fixed one.
        if (Console.IsOutputRedirected)
            console.Profile.Width = 200;
        var table = new Table { Border = TableBorder.Simple };
        foreach (string column in Columns)
            table.AddColumn(new TableColumn(column) { Alignment = column is "process" or "measure" or "verdict" ? Justify.Left : Justify.Right });
        foreach (Verdict verdict in result.Verdicts)
            table.AddRow([.. Cells(verdict).Select(c => new Text(c, verdict.IsFlat ? Style.Plain : new Style(Color.Red)))]);
        console.Write(table);
        foreach (string line in Lines(result))
            console.WriteLine(line);
    }

    public static void Write(string path, SoakResult result, string? picture)
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"# Soak over `{result.Settings.Fabric}`").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"    ./eng/soak --minutes {result.Settings.Length.TotalMinutes:0.##} --fabric '{result.Settings.Fabric}' --seed {result.Settings.Seed}").AppendLine();
        foreach (string line in Lines(result))
            text.AppendLine(CultureInfo.InvariantCulture, $"- {line}");
        text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"| {string.Join(" | ", Columns)} |").AppendLine(CultureInfo.InvariantCulture, $"|{string.Concat(Enumerable.Repeat("---|", Columns.Length))}");
        foreach (Verdict verdict in result.Verdicts)
            text.AppendLine(CultureInfo.InvariantCulture, $"| {string.Join(" | ", Cells(verdict))} |");
        if (picture is not null)
            text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"![Each measure over time, with the line that was fitted]({Path.GetRelativePath(Path.GetDirectoryName(Path.GetFullPath(path))!, picture)})");
        File.WriteAllText(path, text.ToString());
    }

    private static string[] Cells(Verdict v) =>
    [
        v.Process, v.Measure.Name, Format(v, v.Trend.Level), Format(v, v.Trend.Slope), Format(v, v.Trend.Error), Format(v, v.PerCycle), Allowed(v), Said(v),
    ];

    /// <summary>
    /// Formats the allowance; for measures of live buffers, it applies to what exceeds the amount that they may keep.
    /// </summary>
    private static string Allowed(Verdict v) => v.Kept is { } kept ? $"{Format(v, v.Allowance)} beyond {Format(v, kept)}" : Format(v, v.Allowance);

    private static string Said(Verdict v) =>
        v.IsFlat ? "flat" : v.Kept is null ? "GROWS" : $"GROWS beyond it by {Format(v, v.Judged.Slope)} ± {Format(v, v.Judged.Error)} per hour";

    private static string Format(Verdict verdict, double value) => verdict.Measure.IsBytes
        ? string.Create(CultureInfo.InvariantCulture, $"{value / 1024:#,0} KiB")
        : string.Create(CultureInfo.InvariantCulture, $"{value:#,0.###}");

    private static IEnumerable<string> Lines(SoakResult result)
    {
        yield return string.Create(CultureInfo.InvariantCulture, $"{result.Elapsed.TotalMinutes:0.0} minutes, {result.Series.Max(static s => s.Samples.Count)} cycles of {result.Settings.Cycle.TotalSeconds:0.#} s, the first {result.Settings.WarmUp.TotalMinutes:0.#} minutes not judged");
        yield return $"done: {List(result.Done)}";
        yield return $"errors that the documents announce: {List(result.Documented)}";
        yield return $"bytes wrong: {result.WrongBytes}";
        foreach (string fault in result.Faults)
            yield return $"fault: {fault}";
        yield return result.IsGood ? "verdict: good" : "verdict: NOT good";
    }

    private static string List(IReadOnlyDictionary<string, long> counts) =>
        counts.Count == 0 ? "none" : string.Join("; ", counts.OrderBy(static c => c.Key, StringComparer.Ordinal).Select(static c => string.Create(CultureInfo.InvariantCulture, $"{c.Key} {c.Value:#,0}")));
}
