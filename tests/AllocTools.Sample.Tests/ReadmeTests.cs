using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>Tests the README's first program in this repository. AllocTools.Packages.Tests run it with the packages.</summary>
public sealed partial class ReadmeTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The code is analyzed only when the library itself is built, never in its users' builds.</summary>
    [Fact]
    public async Task AProjectThatReachesTheLibraryByASymbolicLinkGetsNoneOfItsWarnings()
    {
        string readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"), Token);
        using TemporaryFolder folder = new();
        Directory.CreateSymbolicLink(Path.Combine(folder.Path, "AllocTools"), Repository.Root);
        string home = Directory.CreateDirectory(Path.Combine(folder.Path, "First")).FullName;
        await File.WriteAllTextAsync(Path.Combine(home, "First.csproj"), ProgramProject.Text("../AllocTools"), Token);
        await File.WriteAllTextAsync(Path.Combine(home, "Program.cs"), BlockOf(readme, "csharp"), Token);
        // The build uses its own folder, where nothing is compiled yet.
        await Dotnet.BuildAsync(home, "built", $"-p:ArtifactsPath={folder.Path}/artifacts");
        string library = Path.Combine("src", "AllocTools", "AllocTools.csproj");
        foreach (string property in new[] { "TreatWarningsAsErrors", "RunAnalyzers" })
        {
            (_, string said, _) = await Dotnet.RunAsync(home, "msbuild", Path.Combine("..", "AllocTools", library), $"-getProperty:{property}");
            Assert.Equal("false", said.Trim());
            (_, said, _) = await Dotnet.RunAsync(Repository.Root, "msbuild", library, $"-getProperty:{property}");
            Assert.Equal("true", said.Trim());
        }
    }

    /// <summary>So <c>./eng/demo --sample quickstart</c> runs what the README shows.</summary>
    [Fact]
    public async Task TheQuickstartIsTheReadmesFirstProgram()
    {
        string readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"), Token);
        string home = Path.Combine(Repository.Root, "samples", "Quickstart");
        Assert.Equal(BlockOf(readme, "csharp"), await File.ReadAllTextAsync(Path.Combine(home, "Program.cs"), Token));
        Assert.Equal(BlockOf(readme, "json"), await File.ReadAllTextAsync(Path.Combine(home, "appsettings.json"), Token));
        (int status, string output, string errors) = await Dotnet.RunAsync(home, Path.Combine(Repository.Root, "artifacts", "bin", "Quickstart", Path.GetFileName(AppContext.BaseDirectory.TrimEnd('/')), "Quickstart.dll"));
        Assert.True(status == 0, output + errors);
        Assert.Contains("1048576 bytes arrived; ", output, StringComparison.Ordinal);
    }

    private static string BlockOf(string readme, string language) =>
        CodeBlock().Matches(readme).First(m => m.Groups["language"].Value == language).Groups["code"].Value;

    [GeneratedRegex(@"^```(?<language>\w+)\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex CodeBlock();
}
