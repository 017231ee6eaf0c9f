using System.Globalization;
using System.Text;

namespace WorkerService.Reporting;

/// <summary>Sums up in words and numbers: a column for each side.</summary>
internal static class SummaryText
{
    private static readonly (string Label, Func<TransferSummary, string> Value)[] Rows =
    [
        ("MB/s", s => s.MegabytesPerSecond.ToString("N0", CultureInfo.InvariantCulture)),
        ("rents", s => Number(s.Rents)),
        ("hits", s => Number(s.Hits)),
        ("misses", s => Number(s.Misses)),
        ("registrations made", s => Number(s.Registrations)),
        ("registrations made after warm-up", s => Number(s.RegistrationsAfterWarmUp)),
        ("registrations saved", s => Number(s.RegistrationsSaved)),
        ("bytes registered", s => Number(s.RegisteredBytes)),
    ];

    public static string Of(IReadOnlyList<TransferSummary> summaries)
    {
        TransferSummary any = summaries[0];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{any.FileName}: {Number(any.Bytes)} bytes in {any.Seconds:0.000} s over {any.Provider}, {any.MegabytesPerSecond:N0} MB/s\n");
        text.Append(CultureInfo.InvariantCulture, $"SHA-256 {any.Sha256}, the same on both sides\n");
        if (summaries.Select(s => s.SavedAs).FirstOrDefault(p => p is not null) is { } path)
            text.Append(CultureInfo.InvariantCulture, $"kept as {path}\n");
        AppendRow(text, "", summaries.Select(s => s.Role));
        foreach ((string label, Func<TransferSummary, string> value) in Rows)
            AppendRow(text, label, summaries.Select(value));
        return text.ToString();
    }

    private static void AppendRow(StringBuilder text, string label, IEnumerable<string> values)
    {
        text.Append(CultureInfo.InvariantCulture, $"{label,-34}");
        foreach (string value in values)
            text.Append(CultureInfo.InvariantCulture, $"{value,12}");
        text.Append('\n');
    }

    private static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
