using System.Diagnostics;
using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Site.Tests;

/// <summary>Tests that the program of docs/getting-started.md runs unchanged, in two processes.</summary>
[Collection(SiteTests.Builds)]
public sealed partial class GettingStartedTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TheSecondProcessWritesIntoTheMemoryOfTheFirst()
    {
        Document document = Document.Named("docs/getting-started.md");
        using TemporaryFolder folder = new();
        string home = Directory.CreateDirectory(Path.Combine(folder.Path, "Hello")).FullName;
        foreach (Match file in NamedBlock().Matches(document.Text))
            await File.WriteAllTextAsync(Path.Combine(folder.Path, file.Groups["name"].Value), file.Groups["code"].Value.Replace("../AllocTools/", Repository.Root + "/", StringComparison.Ordinal), Token);
        await Dotnet.BuildAsync(home, "built");

        string[] expected = [.. document.CodeBlocks.Where(block => block.Language == "text").Select(block => block.Code)];
        using Process owner = Dotnet.Start(home, "built/Hello.dll");
        try
        {
            Task<string> errors = owner.StandardError.ReadToEndAsync(Token);
            string line = await owner.StandardOutput.ReadLineAsync(Token) ?? throw new InvalidOperationException(await errors);
            string[] command = line.Split(' ');
            Assert.Equal(["dotnet", "run"], command[..2]);
            (int status, string output, string writerErrors) = await Dotnet.RunAsync(home, ["built/Hello.dll", .. command[2..]]);
            Assert.True(status == 0, output + writerErrors);
            Assert.Equal(expected[0], output);
            Assert.Equal(expected[1], await owner.StandardOutput.ReadToEndAsync(Token));
            await owner.WaitForExitAsync(Token);
            Assert.True(owner.ExitCode == 0, await errors);
        }
        finally
        {
            if (!owner.HasExited)
                owner.Kill(entireProcessTree: true);
        }
    }

    /// <summary>Matches a line that begins with a file's name and ends with a colon, and the block below it.</summary>
    [GeneratedRegex(@"`(?<name>Hello/[\w.]+)`:\n\n```\w+\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex NamedBlock();
}
