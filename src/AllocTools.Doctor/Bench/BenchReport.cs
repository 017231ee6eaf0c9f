using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace AllocTools.Doctor.Bench;

/// <summary>The rows of a measurement, as text, JSON and CSV.</summary>
/// <param name="settings">The settings that both sides had agreed on.</param>
/// <param name="where">The two sides: <c>two processes of this machine</c>, or the other side's address.</param>
/// <param name="rows">The rows.</param>
internal sealed class BenchReport(BenchSettings settings, string where, IReadOnlyList<Row> rows)
{
    private static readonly int[] Widths = [10, 11, 6, 6, 9, 10, 7, 10, 10, 10, 9, 9, 9, 9, 9];

    /// <summary>The version of the JSON's format. It increases when a reader of this version could not read the JSON.</summary>
    public int Format { get; } = 1;

    /// <summary>The settings.</summary>
    public BenchSettings Settings => settings;

    /// <summary>The two sides of the measurement.</summary>
    public string Where => where;

    /// <summary>The rows.</summary>
    public IReadOnlyList<Row> Rows => rows;

    /// <summary>The line above the rows.</summary>
    public static string Head => Line(Row.Columns);

    /// <summary>Returns a row as a line.</summary>
    public static string LineOf(Row row) => Line(row.ToTexts());

    public string ToJson() => JsonSerializer.Serialize(this, BenchJson.Indented.BenchReport);

    /// <summary>Returns a line of column names, and one line for each row.</summary>
    public string ToCsv() => string.Concat(new[] { Row.Columns.ToArray() }.Concat(rows.Select(static r => r.ToFields())).Select(static f => string.Join(',', f) + "\n"));

    /// <summary>Draws the bandwidth of each test as bars, by the size of a transfer.</summary>
    public void Draw(IAnsiConsole console)
    {
        foreach (IGrouping<string, Row> test in rows.Where(static r => !Measurements.IsLocal(r.Test)).GroupBy(static r => r.Test))
        {
            Color colour = SvgPlot.ColourOf(test.Key).Terminal;
            var chart = new BarChart().Width(80).Label($"{test.Key}, MB/sec").LeftAlignLabel();
            foreach (Row row in test)
                chart.AddItem(Row.Short(row.Bytes), Math.Round(row.MegabytesPerSecond, 1), colour);
            console.Write(chart);
            console.WriteLine();
        }
    }

    private static string Line(IReadOnlyList<string> texts) => $"{texts[0].PadRight(Widths[0])} {texts[1].PadRight(Widths[1])}" + string.Concat(texts.Skip(2).Select(static (t, i) => " " + t.PadLeft(Widths[i + 2])));
}

[JsonSerializable(typeof(BenchReport))]
internal sealed partial class BenchJson : JsonSerializerContext
{
    /// <summary>The format for people and programs.</summary>
    public static BenchJson Indented { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
    });
}
