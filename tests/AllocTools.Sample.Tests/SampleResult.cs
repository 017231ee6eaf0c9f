using System.Globalization;

namespace AllocTools.Sample.Tests;

/// <summary>How the sample ended and what it said.</summary>
internal sealed record SampleResult(int ExitCode, string Output, string Error)
{
    /// <summary>The numbers of a row of the summary: sender, receiver, or the one there is.</summary>
    public long[] Row(string name)
    {
        string line = Output.Split('\n').Single(l => l.StartsWith(name + "  ", StringComparison.Ordinal));
        return
        [
            .. line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(n => long.Parse(n, NumberStyles.AllowThousands, CultureInfo.InvariantCulture)),
        ];
    }

    /// <summary>What it says of its failure, besides the log.</summary>
    public string[] ErrorLines => [.. Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !IsLog(l))];

    // With shm, a killed peer may leave a lock behind, and then the library logs that a call into it does not return.
    private static bool IsLog(string line) => line.StartsWith("warn:", StringComparison.Ordinal) || line.StartsWith("fail: AllocTools.Libfabric", StringComparison.Ordinal);
}
