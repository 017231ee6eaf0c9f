using System.Globalization;
using AllocTools.Doctor.Bench;

namespace AllocTools.Scale;

/// <summary>Presents the measurements as a table in Markdown and as a picture.</summary>
internal static class GrowthTable
{
    public static void Print(IReadOnlyList<Growth> growths, IReadOnlyList<int> sizes, TextWriter to)
    {
        to.WriteLine($"| ns for an operation, among N of | {string.Join(" | ", sizes.Select(static n => n.ToString("N0", CultureInfo.InvariantCulture)))} | bytes at the most | exponent |");
        to.WriteLine($"|---|{string.Concat(Enumerable.Repeat("---:|", sizes.Count + 2))}");
        foreach (Growth growth in growths)
        {
            // If an option allows fewer, the column shows what was measured with the largest number, and that number.
            IEnumerable<string> cells = sizes.Select(n => growth.Costs.FirstOrDefault(c => c.N == n) is { N: > 0 } cost ? Text(cost.Nanoseconds)
                : growth.Costs[^1] is { } last && last.N < n && last.N * 10 > n ? $"{Text(last.Nanoseconds)} ({last.N.ToString("N0", CultureInfo.InvariantCulture)})" : "");
            to.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {growth.Name}; {growth.Among} | {string.Join(" | ", cells)} | {growth.Costs.Max(static c => c.Bytes):N0} | {growth.Exponent:0.00} |"));
        }
    }

    public static void Draw(IReadOnlyList<Growth> growths, string path)
    {
        SvgSeries[] series = [.. growths.Select((g, i) => new SvgSeries(g.Name, ColourOf(i, growths.Count), [.. g.Costs.Select(static c => ((double)c.N, c.Nanoseconds))]))];
        int half = (series.Length + 1) / 2;
        SvgPlot.Write(
            path,
            "Processor time of an operation over N, in ns",
            [new SvgPanel("pool and peers", series[..half]), new SvgPanel("operations, connections, directory", series[half..])],
            static n => n.ToString("N0", CultureInfo.InvariantCulture));
    }

    private static string ColourOf(int index, int count) => string.Create(CultureInfo.InvariantCulture, $"hsl({360 * index / count}, 70%, {(index % 2 == 0 ? 35 : 50)}%)");

    private static string Text(double nanoseconds) => nanoseconds.ToString("N0", CultureInfo.InvariantCulture);
}
