using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Packages.Tests;

/// <summary>Tests the content of the packages.</summary>
public sealed class PackageTests(Packed packed)
{
    /// <summary>The kind of SourceLink's JSON in a portable PDB.</summary>
    private static readonly Guid SourceLinkKind = new("CC110556-A091-4D38-9FEC-25AB9A351A6A");

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>Gets the projects below src that are libraries.</summary>
    public static TheoryData<string> Libraries => new(Projects.Where(name => name is not ("AllocTools.Templates" or "AllocTools.Tool")));

    /// <summary>Gets all projects below src.</summary>
    public static TheoryData<string> All => new(Projects);

    private static IEnumerable<string> Projects => Directory.EnumerateFiles(Path.Combine(Repository.Root, "src"), "*.csproj", SearchOption.AllDirectories)
        .Where(path => Path.GetFileName(Path.GetDirectoryName(path)) == Path.GetFileNameWithoutExtension(path))
        .Select(path => Path.GetFileNameWithoutExtension(path)).Order();

    [Fact]
    public void TheLastLineOfEngPackNamesAllPackages()
    {
        foreach (string project in Projects)
            Assert.Contains($" {project}.{packed.Version}.nupkg", packed.LastLine, StringComparison.Ordinal);
        Assert.Equal(Projects.Count(), Directory.GetFiles(packed.Packages, "*.nupkg").Length);
    }

    [Theory]
    [InlineData("pack")]
    [InlineData("bench")]
    public async Task AScriptSaysHowItIsUsedAndDoesNothingElse(string script)
    {
        (int status, string output, string errors) = await packed.RunAsync(Repository.Root, $"eng/{script} --help");
        Assert.Equal(0, status);
        Assert.Contains($"Usage: eng/{script} ", output, StringComparison.Ordinal);
        Assert.DoesNotContain("source ", output, StringComparison.Ordinal);
        Assert.Equal("", errors);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task APackageSaysWhatItIsAndWhereItComesFrom(string package)
    {
        using ZipArchive archive = packed.Open(package);
        XElement metadata = await MetadataAsync(archive, package);
        Assert.Equal(package, Value(metadata, "id"));
        Assert.Equal(packed.Version, Value(metadata, "version"));
        Assert.Equal("BSD-3-Clause", Value(metadata, "license"));
        Assert.Contains("rdma", Value(metadata, "tags").Split(' '));
        Assert.Contains("CHANGELOG.md", Value(metadata, "releaseNotes"), StringComparison.Ordinal);
        Assert.NotEqual("Package Description", Value(metadata, "description"));
        Assert.InRange(Value(metadata, "description").Length, 30, 300);
        XElement repository = metadata.Elements().Single(e => e.Name.LocalName == "repository");
        Assert.Equal("git", repository.Attribute("type")!.Value);
        Assert.Equal(Packed.Address, repository.Attribute("url")!.Value);
        Assert.Equal(await HeadAsync(), repository.Attribute("commit")!.Value);
        Assert.Null(repository.Attribute("branch"));

        Assert.Equal("README.md", Value(metadata, "readme"));
        string readme = await TextAsync(archive, "README.md");
        Assert.StartsWith("# ", readme, StringComparison.Ordinal);
        Assert.Contains("`", readme, StringComparison.Ordinal);
        // A relative link to a file of the repository would be broken.
        Assert.DoesNotMatch(@"\]\((?!https://)", readme);

        Assert.Equal("icon.png", Value(metadata, "icon"));
        using Stream icon = archive.GetEntry("icon.png")!.Open();
        byte[] header = new byte[24];
        await icon.ReadExactlyAsync(header, Token);
        // These are the signature, the length and the name of the first chunk, then width and height.
        Assert.Equal("89504E470D0A1A0A0000000D494844520000008000000080", Convert.ToHexString(header));
    }

    [Theory]
    [MemberData(nameof(Libraries))]
    public async Task ALibraryHasItsDocumentationAndItsSymbolsWhichLeadToTheSourceOfTheCommit(string package)
    {
        using ZipArchive archive = packed.Open(package);
        XElement documentation = XDocument.Parse(await TextAsync(archive, $"lib/net10.0/{package}.xml")).Root!;
        Assert.Equal(package, documentation.Element("assembly")!.Element("name")!.Value);
        Assert.NotEmpty(documentation.Element("members")!.Elements());

        byte[] library = await BytesAsync(archive, $"lib/net10.0/{package}.dll");
        using ZipArchive symbols = packed.Open(package, "snupkg");
        byte[] pdb = await BytesAsync(symbols, $"lib/net10.0/{package}.pdb");
        using PEReader assembly = new([.. library]);
        DebugDirectoryEntry codeView = assembly.ReadDebugDirectory().Single(e => e.Type == DebugDirectoryEntryType.CodeView);
        Assert.Contains(assembly.ReadDebugDirectory(), e => e.Type == DebugDirectoryEntryType.Reproducible);
        CodeViewDebugDirectoryData named = assembly.ReadCodeViewDebugDirectoryData(codeView);
        Assert.StartsWith("/_/", named.Path, StringComparison.Ordinal);
        using var provider = MetadataReaderProvider.FromPortablePdbImage([.. pdb]);
        MetadataReader reader = provider.GetMetadataReader();
        Assert.Equal(new BlobContentId(named.Guid, codeView.Stamp), new BlobContentId(reader.DebugMetadataHeader!.Id));

        CustomDebugInformation link = reader.GetCustomDebugInformation(EntityHandle.ModuleDefinition).Select(reader.GetCustomDebugInformation).Single(info => reader.GetGuid(info.Kind) == SourceLinkKind);
        Assert.Equal(
            $$$"""{"documents":{"/_/*":"https://raw.githubusercontent.com/example/alloctools/{{{await HeadAsync()}}}/*"}}""",
            Encoding.UTF8.GetString(reader.GetBlobBytes(link.Value)));
        // Nothing reveals the machine on which it was built.
        Assert.All(reader.Documents, document => Assert.StartsWith("/_", reader.GetString(reader.GetDocument(document).Name), StringComparison.Ordinal));
    }

    /// <summary>Without one of the files, or without the analyzer, a public member could be added or removed unnoticed.</summary>
    [Theory]
    [MemberData(nameof(Libraries))]
    public async Task TheBuildComparesThePublicMembersOfALibraryWithItsBaseline(string package)
    {
        string home = Path.Combine(Repository.Root, "src", package);
        string[] shipped = await File.ReadAllLinesAsync(Path.Combine(home, "PublicAPI.Shipped.txt"), Token);
        string[] unshipped = await File.ReadAllLinesAsync(Path.Combine(home, "PublicAPI.Unshipped.txt"), Token);
        Assert.Equal("#nullable enable", shipped[0]);
        Assert.Equal("#nullable enable", unshipped[0]);
        Assert.InRange(shipped.Length + unshipped.Length, 3, int.MaxValue);
        string asked = await packed.SuccessAsync(home, "dotnet msbuild -getItem:AdditionalFiles -getItem:PackageReference -getProperty:TreatWarningsAsErrors");
        JsonNode items = JsonNode.Parse(asked)!["Items"]!;
        Assert.Equal(["PublicAPI.Shipped.txt", "PublicAPI.Unshipped.txt"], items["AdditionalFiles"]!.AsArray().Select(file => (string?)file!["Identity"]).Order());
        Assert.Contains(items["PackageReference"]!.AsArray(), reference => (string?)reference!["Identity"] == "Microsoft.CodeAnalysis.PublicApiAnalyzers");
        Assert.Equal("true", (string?)JsonNode.Parse(asked)!["Properties"]!["TreatWarningsAsErrors"]);
    }

    [Fact]
    public async Task ALibraryIsOptimizedAndItsPartsAskForEachOtherInTheSameVersion()
    {
        using ZipArchive archive = packed.Open("AllocTools.Hosting");
        using PEReader assembly = new([.. await BytesAsync(archive, "lib/net10.0/AllocTools.Hosting.dll")]);
        MetadataReader reader = assembly.GetMetadataReader();
        byte[] debuggable = reader.GetAssemblyDefinition().GetCustomAttributes().Select(reader.GetCustomAttribute)
            .Where(a => a.Constructor.Kind == HandleKind.MemberReference
                && reader.GetString(reader.GetTypeReference((TypeReferenceHandle)reader.GetMemberReference((MemberReferenceHandle)a.Constructor).Parent).Name) == "DebuggableAttribute")
            .Select(a => reader.GetBlobBytes(a.Value)).Single();
        // DebuggingModes is an integer after the prolog: without DisableOptimizations (256).
        Assert.Equal(0, BitConverter.ToInt32(debuggable, 2) & 256);

        XElement metadata = await MetadataAsync(archive, "AllocTools.Hosting");
        Assert.Contains(metadata.Descendants(), e => e.Name.LocalName == "dependency" && e.Attribute("id")!.Value == "AllocTools" && e.Attribute("version")!.Value == packed.Version);
        Assert.DoesNotContain(metadata.Descendants(), e => e.Name.LocalName == "dependency" && e.Attribute("id")!.Value is "MinVer" or "Microsoft.CodeAnalysis.PublicApiAnalyzers");
    }

    /// <summary>
    /// A clone in another folder makes no difference. One library and its dependencies stand for all, because compiling
    /// takes time.
    /// </summary>
    [Fact]
    public async Task TheSameCommitMakesTheSamePackages()
    {
        using TemporaryFolder again = new();
        string clone = await packed.CloneAsync(again.Path);
        await packed.PackAsync(clone, "AllocTools.Telemetry");
        string[] made = Directory.GetFiles(Packed.PackagesOf(clone));
        Assert.Equal(["AllocTools.Telemetry.nupkg", "AllocTools.Telemetry.snupkg"], made.Select(path => Path.GetFileName(path).Replace("." + packed.Version, "", StringComparison.Ordinal)).Order());
        IEnumerable<string> built = ".xml .dll .pdb".Split(' ').Select(ending => Path.Combine("artifacts", "bin", "AllocTools", "release", "AllocTools" + ending));
        Assert.All(made.Select(path => Path.GetRelativePath(clone, path)).Concat(built), file => Assert.True(
            File.ReadAllBytes(Path.Combine(packed.Clone, file)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(clone, file))), $"{file} differs"));
    }

    /// <summary>
    /// The generator of log messages writes classes, and the parts of a class in several files, in an order that varies,
    /// so the assembly would vary, too.
    /// </summary>
    [Fact]
    public void AnAssemblyHasOneDeclarationOfAClassWithLogMessages()
    {
        string[] projects = Directory.GetDirectories(Path.Combine(Repository.Root, "src"), "AllocTools*");
        string[][] files = [.. projects.Select(project => Directory.GetFiles(project, "*.cs", SearchOption.AllDirectories).Where(file => File.ReadAllText(file).Contains("[LoggerMessage(", StringComparison.Ordinal)).ToArray())];
        Assert.Contains(files, f => f.Length == 1);
        Assert.All(files, f => Assert.InRange(f.Length, 0, 1));
    }

    private async Task<string> HeadAsync() => (await packed.SuccessAsync(packed.Packages, "git rev-parse HEAD")).Trim();

    private static async Task<XElement> MetadataAsync(ZipArchive archive, string package) =>
        XDocument.Parse(await TextAsync(archive, $"{package}.nuspec")).Root!.Elements().Single(e => e.Name.LocalName == "metadata");

    private static string Value(XElement metadata, string name) => metadata.Elements().Single(e => e.Name.LocalName == name).Value;

    private static async Task<string> TextAsync(ZipArchive archive, string name) => Encoding.UTF8.GetString(await BytesAsync(archive, name)).TrimStart('\uFEFF');

    private static async Task<byte[]> BytesAsync(ZipArchive archive, string name)
    {
        ZipArchiveEntry entry = archive.GetEntry(name) ?? throw new InvalidOperationException($"The package has no {name}; it has {string.Join(", ", archive.Entries.Select(e => e.FullName))}.");
        using Stream stream = entry.Open();
        using MemoryStream bytes = new();
        await stream.CopyToAsync(bytes, Token);
        return bytes.ToArray();
    }
}
