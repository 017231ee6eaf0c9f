using System.Reflection;
using AllocTools.Connections;
using AllocTools.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Site.Tests;

/// <summary>Checks that docs/troubleshooting.md has the cause and the cure of each public exception and each log event.</summary>
public sealed class TroubleshootingTests
{
    /// <summary>All assemblies of the library that this project refers to, which are all of src except programs.</summary>
    private static readonly Assembly[] Library = [.. Directory.EnumerateFiles(AppContext.BaseDirectory, "AllocTools*.dll").Where(path => !path.EndsWith("Tests.dll", StringComparison.Ordinal)).Select(Assembly.LoadFrom)];

    [Fact]
    public void TheLibraryIsAllOfIt()
    {
        string[] names = [.. Library.Select(assembly => assembly.GetName().Name!)];
        string[] documented = [.. Directory.EnumerateDirectories(Path.Combine(Testing.Repository.Root, "src")).Select(path => Path.GetFileName(path)!).Where(name => File.Exists(Path.Combine(Testing.Repository.Root, "src", name, name + ".csproj")))];
        // The other assemblies have neither exceptions nor events; if one had, this test would fail.
        Assert.Contains(typeof(RmaException).Assembly, Library);
        Assert.Contains(typeof(RmaPoolStartException).Assembly, Library);
        Assert.Contains(typeof(RmaConnectionException).Assembly, Library);
        Assert.All(documented.Where(name => MentionsLogOrException(name)), name => Assert.Contains(name, names));
    }

    [Fact]
    public void EachPublicExceptionHasItsRowAndEachRowItsException()
    {
        string[] expected = [.. Library.SelectMany(assembly => assembly.GetExportedTypes()).Where(type => type.IsSubclassOf(typeof(Exception))).Select(type => type.Name)];
        Assert.Equal(expected.Order(StringComparer.Ordinal), RowsOf("exceptions").Select(row => row[0].Trim('`')).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void EachLogEventHasItsRowAndEachRowItsEvent()
    {
        int[] expected = [.. Library.SelectMany(assembly => assembly.GetTypes()).SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic))
            .Select(method => method.GetCustomAttribute<LoggerMessageAttribute>()?.EventId).Where(id => id is not null).Select(id => id!.Value)];
        Assert.Equal(expected.Order(), RowsOf("events").Select(row => int.Parse(row[0], System.Globalization.CultureInfo.InvariantCulture)));
    }

    [Theory]
    [InlineData("exceptions")]
    [InlineData("events")]
    public void EachRowHasACauseAndACure(string table) => Assert.All(RowsOf(table), row =>
    {
        Assert.Equal(3, row.Length);
        Assert.All(row, cell => Assert.NotEmpty(cell));
        Assert.EndsWith(".", row[1], StringComparison.Ordinal);
        Assert.True(row[2].EndsWith('.') || row[2].EndsWith(')'), $"{row[0]}: {row[2]}");
    });

    private static bool MentionsLogOrException(string project) => Directory.EnumerateFiles(Path.Combine(Testing.Repository.Root, "src", project), "*.cs", SearchOption.AllDirectories)
        .Where(path => !path.Contains("/obj/", StringComparison.Ordinal))
        .Select(File.ReadAllText)
        .Any(code => code.Contains("[LoggerMessage(", StringComparison.Ordinal) || (code.Contains("public sealed class", StringComparison.Ordinal) && code.Contains("Exception : ", StringComparison.Ordinal)));

    /// <summary>Returns the cells of the table below a mark, without its two heading lines.</summary>
    private static IEnumerable<string[]> RowsOf(string mark) =>
    [
        .. Document.Named("docs/troubleshooting.md").Text.Split($"<!-- {mark} -->")[1].TrimStart().Split('\n').TakeWhile(line => line.StartsWith('|')).Skip(2)
            .Select(line => line.Trim('|').Split('|').Select(cell => cell.Trim()).ToArray()),
    ];
}
