using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>
/// Checks that the table of handshakes in docs/architecture.md names each fence in the code, and nothing that doesn't
/// exist.
/// </summary>
public sealed partial class HandshakeTests
{
    /// <summary>The types of the code with their text; for a partial type, the text of all its parts.</summary>
    private static readonly ILookup<string, string> Types = Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories)
        .Where(f => !f.Contains("/obj/", StringComparison.Ordinal))
        .SelectMany(f => TypesOf(File.ReadAllText(f)))
        .ToLookup(t => t.Name, t => t.Text);

    [Fact]
    public void EachTypeWithAFenceIsInTheTable()
    {
        IEnumerable<string> fenced = Types.Where(t => t.Key != "Fence" && t.Any(Barrier().IsMatch)).Select(t => t.Key);
        Assert.NotEmpty(fenced);
        Assert.Empty(fenced.Except(Members().Select(m => m.Type)));
    }

    [Fact]
    public void EachMemberInTheTableIsThere()
    {
        Assert.NotEmpty(Members());
        Assert.All(Members(), member => Assert.Matches($@"\b{member.Name}(<\w+>)?\(", string.Concat(Types[member.Type])));
    }

    // Code that relies on a fence uses the helper, which documents what it guarantees.
    [Fact]
    public void AllFencesButTheProcessWideAreByTheHelper() =>
        Assert.DoesNotContain(Types, t => t.Key != "Fence" && t.Any(text => text.Contains("Interlocked.MemoryBarrier(", StringComparison.Ordinal)));

    private static IEnumerable<(string Name, string Text)> TypesOf(string code)
    {
        Match[] starts = Declaration().Matches(code).ToArray();
        return starts.Select((start, i) => (start.Groups[1].Value, code[start.Index..(i + 1 < starts.Length ? starts[i + 1].Index : code.Length)]));
    }

    private static (string Type, string Name)[] Members()
    {
        string text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "architecture.md"));
        string section = text.Split("## Handshakes")[1].Split("\n## ")[0];
        return [.. Member().Matches(string.Join('\n', section.Split('\n').Where(l => l.StartsWith('|')))).Select(m => (m.Groups[1].Value, m.Groups[2].Value)).Where(m => m.Item1 != "Interlocked")];
    }

    [GeneratedRegex(@"\bFence\.(Full|AfterInterlocked)\(|Interlocked\.MemoryBarrier(ProcessWide)?\(")]
    private static partial Regex Barrier();

    /// <summary>Matches declarations of types that are not nested.</summary>
    [GeneratedRegex(@"^(?:\w+ )*(?:class|struct|interface|record|enum) (\w+)", RegexOptions.Multiline)]
    private static partial Regex Declaration();

    [GeneratedRegex(@"`(\w+)\.(\w+)`")]
    private static partial Regex Member();
}
