using System.IO.Compression;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Packages.Tests;

/// <summary>
/// Tests that the repository can be packed if it has no history or only a part of it, and was cloned from a folder. The
/// smallest package shows the effects.
/// </summary>
public sealed class CheckoutTests(Packed packed)
{
    [Fact]
    public async Task ASourceArchiveWithoutGitPacksWithoutAWarning()
    {
        using TemporaryFolder folder = new();
        string clone = await packed.CloneAsync(folder.Path);
        Directory.Delete(Path.Combine(clone, ".git"), recursive: true);
        await PackTemplatesAsync(clone);
        string packages = Path.Combine(clone, "packages");
        Assert.Equal(["AllocTools.Templates.0.1.0-alpha.0.nupkg"], Directory.GetFiles(packages).Select(Path.GetFileName));
        string nuspec = await NuspecAsync(packages);
        Assert.DoesNotContain("commit=", nuspec, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AShallowCloneOfAFolderPacksWithoutAWarningAndWithoutThePathOfTheFolder()
    {
        using TemporaryFolder folder = new();
        string whole = await packed.CloneAsync(folder.Path);
        string clone = Path.Combine(folder.Path, "shallow");
        await packed.SuccessAsync(folder.Path, "git clone --quiet --depth 1 \"file://$PWD/clone\" shallow");
        await PackTemplatesAsync(clone);
        string nuspec = await NuspecAsync(Path.Combine(clone, "packages"));
        Assert.Contains("<repository type=\"git\" commit=\"", nuspec, StringComparison.Ordinal);
        Assert.DoesNotContain(whole, nuspec, StringComparison.Ordinal);
    }

    private static async Task<string> NuspecAsync(string packages)
    {
        using ZipArchive archive = ZipFile.OpenRead(Directory.GetFiles(packages).Single());
        using StreamReader reader = new(archive.Entries.Single(e => e.Name.EndsWith(".nuspec", StringComparison.Ordinal)).Open());
        return await reader.ReadToEndAsync(TestContext.Current.CancellationToken);
    }

    private async Task PackTemplatesAsync(string root)
    {
        string said = await packed.SuccessAsync(root, "dotnet pack src/AllocTools.Templates -c Release -o packages -p:ContinuousIntegrationBuild=true -v minimal -tl:off 2>&1");
        Assert.DoesNotContain("warning", said, StringComparison.Ordinal);
    }
}
