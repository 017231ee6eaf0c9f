using System.Globalization;

namespace AllocTools.Sample.Tests;

/// <summary>How the sample ended, and what it printed.</summary>
internal sealed record SampleResult(int ExitCode, string Output, string Error)
{
    /// <summary>Returns the numbers of a row of the summary: sender and receiver, or the only one there is.</summary>
    public long[] Row(string name)
    {
        string line = Output.Split('\n').Single(l => l.StartsWith(name + "  ", StringComparison.Ordinal));
        return
        [
            .. line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(n => long.Parse(n, NumberStyles.AllowThousands, CultureInfo.InvariantCulture)),
        ];
    }

    /// <summary>Gets what it prints about its failure, in addition to the log.</summary>
    public string[] ErrorLines => [.. Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !IsLog(l))];

    // With shm, a killed peer may leave a lock behind, and the library then logs that a call into it does not return.
    private static bool IsLog(string line) => line.StartsWith("warn:", StringComparison.Ordinal) || line.StartsWith("fail: AllocTools.Libfabric", StringComparison.Ordinal);
}
