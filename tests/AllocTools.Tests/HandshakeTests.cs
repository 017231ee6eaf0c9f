using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>The table of handshakes in docs/architecture.md names each fence of the code, and nothing that isn't there.</summary>
public sealed partial class HandshakeTests
{
    private static readonly string Sources = Path.Combine(Repository.Root, "src");

    private static string[] Files => [.. Directory.GetFiles(Sources, "*.cs", SearchOption.AllDirectories).Where(f => !f.Contains("/obj/", StringComparison.Ordinal))];

    [Fact]
    public void EachFileWithAFenceIsInTheTable()
    {
        IEnumerable<string> fenced = Files
            .Where(f => Path.GetFileName(f) != "Fence.cs" && Barrier().IsMatch(File.ReadAllText(f)))
            .Select(f => Path.GetFileNameWithoutExtension(f));
        Assert.Empty(fenced.Except(Members().Select(m => m.Type)));
    }

    [Fact]
    public void EachMemberInTheTableIsThere()
    {
        Assert.NotEmpty(Members());
        Assert.All(Members(), member =>
        {
            string file = Assert.Single(Files, f => Path.GetFileNameWithoutExtension(f) == member.Type);
            Assert.Matches($@"\b{member.Name}(<\w+>)?\(", File.ReadAllText(file));
        });
    }

    // Whoever relies on one says so by the helper, which says what it promises.
    [Fact]
    public void AllFencesButTheProcessWideAreByTheHelper() =>
        Assert.DoesNotContain(Files, f => Path.GetFileName(f) != "Fence.cs" && File.ReadAllText(f).Contains("Interlocked.MemoryBarrier(", StringComparison.Ordinal));

    private static (string Type, string Name)[] Members()
    {
        string text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "architecture.md"));
        string section = text.Split("## Handshakes")[1].Split("\n## ")[0];
        return [.. Member().Matches(string.Join('\n', section.Split('\n').Where(l => l.StartsWith('|')))).Select(m => (m.Groups[1].Value, m.Groups[2].Value)).Where(m => m.Item1 != "Interlocked")];
    }

    [GeneratedRegex(@"\bFence\.(Full|AfterInterlocked)\(|Interlocked\.MemoryBarrier(ProcessWide)?\(")]
    private static partial Regex Barrier();

    [GeneratedRegex(@"`(\w+)\.(\w+)`")]
    private static partial Regex Member();
}
