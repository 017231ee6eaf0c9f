using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Packages.Tests;

/// <summary>Tests that the README's first program can be built with the packages and run, unchanged.</summary>
public sealed partial class ReadmeTests(Packed packed)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TheFirstProgramMovesAMegabyteAndTellsWhatIsWrongInItsSettings()
    {
        string readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"), Token);
        string section = readme[readme.IndexOf("## A first program", StringComparison.Ordinal)..];
        string folder = packed.NewFolder("readme");
        string home = Directory.CreateDirectory(Path.Combine(folder, "AllocTools")).FullName;
        List<string> lines = [.. Commands().Match(section).Groups["lines"].Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)];
        // The packages are packed already, and the folder has its own source for them.
        Assert.StartsWith("./eng/pack", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("dotnet nuget add source \"$PWD/artifacts/packages\"", lines[1], StringComparison.Ordinal);
        await packed.SuccessAsync(home, string.Join('\n', lines[2..]));
        string project = Path.Combine(folder, "First");
        await File.WriteAllTextAsync(Path.Combine(project, "Program.cs"), BlockOf(section, "csharp"), Token);
        await File.WriteAllTextAsync(Path.Combine(project, "appsettings.json"), BlockOf(section, "json"), Token);

        await packed.SuccessAsync(project, "dotnet build -c Release -o built -warnaserror -tl:off");
        (int status, string output, string errors) = await packed.RunAsync(project, "dotnet built/First.dll");
        Assert.True(status == 0, output + errors);
        Assert.Contains("1048576 bytes arrived; ", output, StringComparison.Ordinal);
        (status, _, errors) = await packed.RunAsync(project, "dotnet built/First.dll --AllocTools:MaxRegisteredBytes=much --AllocTools:Providr=tcp");
        Assert.Equal(1, status);
        string[] failures = errors.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, failures.Length);
        Assert.Single(failures, line => line.Contains("AllocTools:MaxRegisteredBytes", StringComparison.Ordinal));
        Assert.Single(failures, line => line.Contains("AllocTools:Providr", StringComparison.Ordinal));
        await File.WriteAllTextAsync(Path.Combine(project, "appsettings.json"), "{\n  \"AllocTools\": {\n", Token);
        (status, _, errors) = await packed.RunAsync(project, "dotnet built/First.dll");
        Assert.Equal(1, status);
        Assert.Contains("appsettings.json", Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        Assert.Contains("LineNumber", errors, StringComparison.Ordinal);
        Assert.Contains($"\"AllocTools.Hosting/{packed.Version}\"", await File.ReadAllTextAsync(Path.Combine(project, "obj", "project.assets.json"), Token), StringComparison.Ordinal);
    }

    private static string BlockOf(string section, string language) =>
        CodeBlock().Matches(section).First(m => m.Groups["language"].Value == language).Groups["code"].Value;

    [GeneratedRegex(@"^```bash\n(?<lines>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Commands();

    [GeneratedRegex(@"^```(?<language>\w+)\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex CodeBlock();
}
