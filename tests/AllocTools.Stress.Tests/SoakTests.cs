using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using AllocTools.Soak;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Stress.Tests;

/// <summary>Tests the program of eng/soak for a minute, and its processes when it is killed.</summary>
public sealed class SoakTests
{
    private static readonly TimeSpan Limit = TestTime.Seconds(400);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static string Program
    {
        get
        {
            string here = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar);
            return Path.GetFullPath(Path.Combine(here, "..", "..", "AllocTools.Soak", Path.GetFileName(here), "AllocTools.Soak"));
        }
    }

    [Theory]
    [InlineData("tcp;ofi_rxm", "0.6")]
    public async Task AMinuteOfLoadLeavesNothingBehindAndNoByteWrong(string fabric, string minutes)
    {
        using TemporaryFolder folder = new();
        (string json, string report, string picture) = (Path.Combine(folder.Path, "soak.json"), Path.Combine(folder.Path, "soak.md"), Path.Combine(folder.Path, "soak.svg"));
        using Process soak = Start("--minutes", minutes, "--fabric", fabric, "--json", json, "--report", report, "--picture", picture);
        Task<string> output = soak.StandardOutput.ReadToEndAsync(Token), errors = soak.StandardError.ReadToEndAsync(Token);
        try
        {
            await soak.WaitForExitAsync(Token).WaitAsync(Limit, Token);
        }
        finally
        {
            await EndAsync(soak);
        }
        string said = await output + await errors;
        Assert.True(soak.ExitCode == 0, said);

        SoakSummary summary = JsonSerializer.Deserialize(await File.ReadAllTextAsync(json, Token), SoakJson.Default.SoakSummary)!;
        Assert.True(summary.IsGood);
        Assert.Equal(0, summary.WrongBytes);
        Assert.Empty(summary.Faults);
        string[] kinds = ["rents", "changes of the options", "registrations of the caller's memory", "exposures", "writes with notification", "writes by peers", "reads", "reads by peers", "frames both ways", "connections", "peers killed"];
        Assert.All(kinds, kind => Assert.True(summary.Done.GetValueOrDefault(kind) > 0, $"{kind}: {said}"));
        // There are three peers at the start, and one more for each that was killed.
        Assert.Equal(3 + summary.Done["peers killed"], summary.Done["peers started"]);
        Assert.NotEmpty(summary.Documented);
        Assert.Equal(2 * Measure.All.Count, summary.Measures.Count);
        Assert.All(summary.Measures, static m => Assert.True(m.IsFlat && m.Samples >= Trend.FewestValues, m.ToString()));

        string document = await File.ReadAllTextAsync(report, Token);
        Assert.All(Measure.All, m => Assert.Contains($"| {m.Name} |", document, StringComparison.Ordinal));
        Assert.Contains("(soak.svg)", document, StringComparison.Ordinal);
        string drawing = XDocument.Load(picture).Root!.Value;
        Assert.All(Measure.All, m => Assert.Contains(m.Name, drawing, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ThePeersOfASoakThatIsKilledEnd()
    {
        using Process soak = Start("--minutes", "10", "--cycle", "0.5");
        HashSet<int> children = [];
        try
        {
            // Two of the three are killed now and then, and others take their place.
            await UntilAsync(() => (children = ChildrenOf(soak.Id)).Count == 3);
        }
        finally
        {
            await EndAsync(soak);
        }
        await UntilAsync(() => !children.Any(static c => Directory.Exists($"/proc/{c}")));
    }

    [Theory]
    [InlineData("--minutes is 'x'; it must be a number that is more than 0", "--minutes", "x")]
    [InlineData("--cycle is '0'; it must be a number that is between 0.1 and 600", "--minutes", "1", "--cycle", "0")]
    [InlineData("--minutes is '-1'; it must be", "--minutes", "-1")]
    [InlineData("of UCX it must be ucx:tcp or ucx:shm", "--minutes", "1", "--fabric", "ucx:nothing")]
    [InlineData("its folder must exist", "--minutes", "1", "--report", "/nowhere/soak.md")]
    [InlineData("offers nothing for Provider 'nothing'", "--minutes", "1", "--fabric", "nothing")]
    public async Task WhatCantBeRunIsRefusedAtOnce(string error, params string[] arguments)
    {
        using Process soak = Start(arguments);
        Task<string> output = soak.StandardOutput.ReadToEndAsync(Token), errors = soak.StandardError.ReadToEndAsync(Token);
        await soak.WaitForExitAsync(Token).WaitAsync(TestTime.Seconds(30), Token);
        await output;
        Assert.Contains(error, await errors, StringComparison.Ordinal);
        Assert.Equal(1, soak.ExitCode);
    }

    private static Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo(Program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;

    private static async Task EndAsync(Process process)
    {
        if (!process.HasExited)
            process.Kill();
        await process.WaitForExitAsync(CancellationToken.None);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Token);
        limit.CancelAfter(TestTime.Seconds(90));
        while (!condition())
            await Task.Delay(20, limit.Token);
    }

    /// <summary>
    /// Returns the children of a process. In proc_pid_stat(5), the parent is the second field after the name, which is
    /// in parentheses.
    /// </summary>
    private static HashSet<int> ChildrenOf(int process)
    {
        HashSet<int> children = [];
        foreach (string folder in Directory.EnumerateDirectories("/proc").Where(static f => char.IsAsciiDigit(Path.GetFileName(f)[0])))
        {
            try
            {
                string stat = File.ReadAllText(Path.Combine(folder, "stat"));
                if (int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture) == process)
                    children.Add(int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture));
            }
            catch (IOException)
            {
                // That process has ended.
            }
        }
        return children;
    }
}
