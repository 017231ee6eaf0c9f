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

    public string[] ErrorLines => [.. Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !l.StartsWith("warn:", StringComparison.Ordinal))];
}
