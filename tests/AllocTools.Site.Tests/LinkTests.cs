using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Site.Tests;

/// <summary>Checks that everything that the documents refer to exists.</summary>
public sealed partial class LinkTests
{
    [Fact]
    public void EachLinkLeadsToAFileAndToAnAnchorInIt()
    {
        List<string> broken = [];
        foreach (Document document in Document.All)
        {
            foreach (string link in document.Links.Where(link => !link.StartsWith("https://", StringComparison.Ordinal)))
            {
                string[] parts = link.Split('#', 2);
                string target = parts[0].Length == 0 ? document.Path : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(document.Path)!, parts[0]));
                if (!File.Exists(target) && !Directory.Exists(target))
                    broken.Add($"{document}: {link} leads to no file.");
                else if (parts is [_, string anchor] && Document.All.Single(other => other.Path == target) is var other && !other.Anchors.Contains(anchor))
                    broken.Add($"{document}: {link} leads to no heading. There are {string.Join(", ", other.Anchors)}.");
            }
        }
        Assert.True(broken.Count == 0, string.Join('\n', broken));
    }

    /// <summary>A path in a document that begins with one of the repository's folders leads to a file or a folder.</summary>
    [Fact]
    public void EachPathOfTheRepositoryThatADocumentNamesExists()
    {
        List<string> missing = [];
        foreach (Document document in Document.All)
        {
            string[] paths = [.. document.InlineCode.Concat(document.CodeBlocks.Where(block => block.Language is "bash" or "").Select(block => block.Code)).SelectMany(code => RepositoryPath().Matches(code).Select(match => match.Value))];
            missing.AddRange(paths.Where(path => !File.Exists(Path.Combine(Repository.Root, path)) && !Directory.Exists(Path.Combine(Repository.Root, path))).Select(path => $"{document}: {path}"));
        }
        Assert.True(missing.Count == 0, string.Join('\n', missing));
    }

    [Fact]
    public void EachDocumentIsOnThePathAndInTheTableOfContents()
    {
        string contents = File.ReadAllText(Path.Combine(Repository.Root, "docs", "toc.yml"));
        string[] names = [.. Document.All.Where(document => document.Name.StartsWith("docs/", StringComparison.Ordinal)).Select(document => Path.GetFileName(document.Name))];
        Assert.All(names, name => Assert.Contains($"href: {name}\n", contents, StringComparison.Ordinal));
        IReadOnlySet<string> linked = Document.Named("docs/index.md").Links.Select(link => Path.GetFileName(link.Split('#')[0])).ToHashSet(StringComparer.Ordinal);
        Assert.All(names.Where(name => name != "index.md"), name => Assert.Contains(name, linked));
    }

    /// <summary>
    /// The menu, the path and the README's table have the same groups, with the same names and the same documents.
    /// </summary>
    [Fact]
    public void DocumentsAreGroupedAlikeEverywhere()
    {
        // Lines begin with a group's name or with a document's.
        Dictionary<string, List<string>> groups = [];
        foreach (Match line in ContentsLine().Matches(File.ReadAllText(Path.Combine(Repository.Root, "docs", "toc.yml"))))
        {
            if (line.Groups["group"] is { Success: true, Value: var group })
                groups.Add(group, []);
            else if (groups.Count > 0 && line.Groups["file"].Value is not "index.md" and var file)
                groups.Values.Last().Add(file);
        }
        groups = groups.Where(group => group.Value.Count > 0).ToDictionary();
        Assert.Equal(4, groups.Count);

        string path = Document.Named("docs/index.md").Text;
        string[][] table = [.. Document.Named("README.md").Text.Split('\n').SkipWhile(line => !line.StartsWith("| begin |", StringComparison.Ordinal)).TakeWhile(line => line.StartsWith('|')).Select(line => line.Trim('|').Split('|'))];
        foreach ((int column, (string name, List<string> files)) in groups.Index())
        {
            string section = path.Split($"\n## {name}\n")[1].Split("\n## ")[0];
            Assert.All(files, file => Assert.Contains($"]({file})", section, StringComparison.Ordinal));
            Assert.Equal(name, table[0][column].Trim(), ignoreCase: true);
            Assert.Equal(files.Order(StringComparer.Ordinal), DocumentLink().Matches(string.Concat(table[2..].Select(row => row[column]))).Select(link => link.Groups["file"].Value).Order(StringComparer.Ordinal));
        }
    }

    [GeneratedRegex(@"^- name: (?<group>.+)$|^ +href: (?<file>.+)$", RegexOptions.Multiline)]
    private static partial Regex ContentsLine();

    [GeneratedRegex(@"\]\(docs/(?<file>[\w.-]+)\)")]
    private static partial Regex DocumentLink();

    [GeneratedRegex(@"(?<![\w./-])(?:\./)?(?:src|tests|eng|docs|samples|benchmarks|dashboards)/[\w./-]*[\w/]")]
    private static partial Regex RepositoryPath();
}
