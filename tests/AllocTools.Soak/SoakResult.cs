using System.Text.Json;
using System.Text.Json.Serialization;

namespace AllocTools.Soak;

/// <summary>A series of samples of one process.</summary>
/// <param name="Process">The process.</param>
/// <param name="Samples">All samples, including those of the warm-up.</param>
internal sealed record Series(string Process, IReadOnlyList<Sample> Samples);

/// <summary>The result of a run.</summary>
internal sealed record SoakResult
{
    public required SoakSettings Settings { get; init; }

    /// <summary>How long the run took.</summary>
    public required TimeSpan Elapsed { get; init; }

    public required IReadOnlyList<Series> Series { get; init; }

    public required IReadOnlyList<Verdict> Verdicts { get; init; }

    public required IReadOnlyDictionary<string, long> Done { get; init; }

    public required IReadOnlyDictionary<string, long> Documented { get; init; }

    public required IReadOnlyCollection<string> Faults { get; init; }

    public required long WrongBytes { get; init; }

    /// <summary>
    /// Gets whether nothing grew, no byte was wrong, no unannounced error occurred, and nothing was left behind.
    /// </summary>
    public bool IsGood => Faults.Count == 0 && WrongBytes == 0 && Verdicts.Count > 0 && Verdicts.All(static v => v.IsFlat);

    /// <summary>Judges the samples that were taken after the warm-up.</summary>
    public static SoakResult Of(SoakSettings settings, TimeSpan elapsed, Ledger ledger, IReadOnlyList<Series> series)
    {
        List<Verdict> verdicts = [];
        foreach (Series each in series)
        {
            Sample[] judged = [.. each.Samples.Where(s => s.Time > settings.WarmUp)];
            if (judged.Length < Trend.FewestValues)
                ledger.AddFault($"There are {judged.Length} samples of the {each.Process} after the warm-up; there must be {Trend.FewestValues} at least, so the run must be longer.");
            else
                verdicts.AddRange(Measure.All.Select(m => m.Judge(each.Process, judged)));
        }
        return new SoakResult
        {
            Settings = settings,
            Elapsed = elapsed,
            Series = series,
            Verdicts = verdicts,
            Done = ledger.Done,
            Documented = ledger.Documented,
            Faults = ledger.Faults,
            WrongBytes = ledger.WrongBytes,
        };
    }

    /// <summary>Returns the result for programs.</summary>
    public string ToJson() => JsonSerializer.Serialize(
        new SoakSummary(
            Settings.Fabric, Settings.Seed, Elapsed.TotalMinutes, Series.Max(static s => s.Samples.Count), IsGood, WrongBytes, Faults, Done, Documented,
            [.. Verdicts.Select(static v => new SoakSummary.Line(v.Process, v.Measure.Name, v.Trend.Count, v.Trend.Level, v.Trend.Slope, v.Trend.Error, v.PerCycle, v.Kept, v.Judged.Slope, v.Judged.Error, v.Allowance, v.IsFlat))]),
        SoakJson.Default.SoakSummary);
}

/// <summary>The result for programs. Slopes and their errors are per hour, in bytes or counts.</summary>
internal sealed record SoakSummary(
    string Fabric, int Seed, double Minutes, int Cycles, bool IsGood, long WrongBytes, IReadOnlyCollection<string> Faults, IReadOnlyDictionary<string, long> Done,
    IReadOnlyDictionary<string, long> Documented, IReadOnlyList<SoakSummary.Line> Measures)
{
    internal sealed record Line(string Process, string Measure, int Samples, double Level, double Slope, double Error, double PerCycle, double? Kept, double JudgedSlope, double JudgedError, double Allowance, bool IsFlat);
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(SoakSummary))]
internal sealed partial class SoakJson : JsonSerializerContext;
