using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>
/// Tests that the blocks of docs/guide.md's section on memory compile unchanged, and that each prints what the text
/// says.
/// </summary>
public sealed partial class MemoryGuideTests
{
    private const string Section = "## Memory where you already have it\n";
    private const int MostLines = 9;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task EachBlockRunsAndPrintsWhatTheTextSays()
    {
        string guide = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "guide.md"), Token);
        string section = guide[guide.IndexOf(Section, StringComparison.Ordinal)..];
        int next = section.IndexOf("\n## ", Section.Length, StringComparison.Ordinal);
        section = next < 0 ? section : section[..next];
        Match[] blocks = [.. (IEnumerable<Match>)Block().Matches(section)];
        Assert.NotEmpty(blocks);
        // A block that does not match would be neither compiled nor missed.
        Assert.Equal(Heading().Matches(section).Select(static h => h.Groups["title"].Value), blocks.Select(static b => b.Groups["title"].Value));
        Assert.Equal(blocks.Length, section.Split("\n```csharp").Length - 1);
        using TemporaryFolder folder = new();
        await File.WriteAllTextAsync(Path.Combine(folder.Path, "Blocks.csproj"), Project, Token);
        await File.WriteAllTextAsync(Path.Combine(folder.Path, "Program.cs"), ProgramOf(blocks), Token);
        await Dotnet.BuildAsync(folder.Path, "built");

        (int status, string output, string errors) = await Dotnet.RunAsync(folder.Path, "built/Blocks.dll", Directory.CreateDirectory(Path.Combine(folder.Path, "files")).FullName);
        Assert.True(status == 0, output + errors);
        string[] expected = [.. blocks.Where(static b => !IsCompiledOnly(b)).Select(static b => $"{b.Groups["title"].Value}: {b.Groups["printed"].Value}")];
        Assert.Equal(expected, output.TrimEnd('\n').Split('\n'));
        Assert.All(blocks, static b => Assert.True(
            b.Groups["code"].Value.TrimEnd('\n').Split('\n').Length <= MostLines, $"{b.Groups["title"].Value} has more than {MostLines} lines."));
        Assert.All(blocks, static b => Assert.True(
            IsCompiledOnly(b) || b.Groups["printed"].Success, $"{b.Groups["title"].Value}: the line that says what it prints is missing."));
    }

    private static bool IsCompiledOnly(Match block) => block.Groups["compile"].Success;

    /// <summary>
    /// Returns a program with a method for each block. Each block that runs has its own pools, endpoints and peer
    /// memory.
    /// </summary>
    private static string ProgramOf(Match[] blocks)
    {
        var methods = new StringBuilder();
        var calls = new StringBuilder();
        for (int i = 0; i < blocks.Length; i++)
        {
            string code = blocks[i].Groups["code"].Value;
            if (IsCompiledOnly(blocks[i]))
            {
                methods.Append($$"""
                    static async Task Block{{i}}(IRmaMemoryPool pool, IRmaEndpoint endpoint, RemoteRegion remote, CancellationToken cancellationToken)
                    {
                    {{code}}
                    await Task.CompletedTask;
                    }

                    """);
                continue;
            }
            methods.Append($$"""
                static async Task Block{{i}}(IRmaMemoryPool pool, IRmaEndpoint endpoint, IRmaMemoryPool peerPool, RemoteRegion remote, string folder, CancellationToken cancellationToken)
                {
                {{code}}
                await Task.CompletedTask;
                }

                """);
            calls.Append($"Console.Write(\"{blocks[i].Groups["title"].Value.Replace("\"", "\\\"", StringComparison.Ordinal)}: \");\nawait RunAsync(Block{i}, args[0]);\n");
        }
        return $$"""
            using System.Buffers;
            using System.IO.MemoryMappedFiles;
            using System.IO.Pipelines;
            using System.Numerics.Tensors;
            using AllocTools;
            using AllocTools.Endpoints;
            using AllocTools.Libfabric;
            using AllocTools.Regions;
            {{string.Concat(OptionalNamespaces().Select(static n => $"using {n};\n"))}}
            {{calls}}
            static async Task RunAsync(Func<IRmaMemoryPool, IRmaEndpoint, IRmaMemoryPool, RemoteRegion, string, CancellationToken, Task> block, string folder)
            {
                using var time = new CancellationTokenSource(TimeSpan.FromMinutes(1));
                await using RmaMemoryPool<LibfabricProvider> side = Open();
                await using RmaMemoryPool<LibfabricProvider> other = Open();
                using IRmaEndpoint endpoint = side.Context.OpenEndpoint();
                using IRmaEndpoint peerEndpoint = other.Context.OpenEndpoint();
                using RmaBuffer theirs = other.Rent(1 << 20);
                theirs.Span.Clear();
                using RmaExposure exposure = theirs.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
                using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(peerEndpoint.Address.Span), exposure.Remote);
                await block(side, endpoint, other, remote, folder, time.Token);
                if (side.GetStatistics().RentedBuffers != 0)
                    throw new InvalidOperationException($"The block has left buffers out: {side.GetStatistics()}");
            }

            static RmaMemoryPool<LibfabricProvider> Open()
            {
                using IRmaContext context = new LibfabricProvider(new LibfabricOptions { Provider = "shm" }).Open();
                return new(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, MaxRegisteredBytes = 256 << 20 });
            }

            {{methods}}
            """;
    }

    /// <summary>
    /// Returns the core's namespaces for memory below AllocTools; the text need not mention that a program uses them.
    /// </summary>
    private static IEnumerable<string> OptionalNamespaces() => typeof(RmaBuffer).Assembly.GetExportedTypes()
        .Select(static t => t.Namespace!)
        .Where(static n => n is "AllocTools.Buffers" or "AllocTools.Caching" or "AllocTools.Collections" or "AllocTools.Cells")
        .Distinct();

    /// <summary>Returns the version that the repository's own programs use.</summary>
    private static string TensorsVersion() => XDocument.Load(Path.Combine(Repository.Root, "Directory.Packages.props"))
        .Descendants("PackageVersion").Single(static p => (string?)p.Attribute("Include") == "System.Numerics.Tensors").Attribute("Version")!.Value;

    private static string Project => $"""
        <Project Sdk="Microsoft.NET.Sdk.Web">
          <PropertyGroup>
            <TargetFramework>net10.0</TargetFramework>
            <ImplicitUsings>enable</ImplicitUsings>
            <Nullable>enable</Nullable>
            <NuGetAudit>false</NuGetAudit>
            <!-- The program has all that any of the blocks may use, and gives each block more than it needs. -->
            <NoWarn>$(NoWarn);CS8321;CS1998</NoWarn>
          </PropertyGroup>
          <ItemGroup>
            <PackageReference Include="System.Numerics.Tensors" Version="{TensorsVersion()}" />
            <ProjectReference Include="{Repository.Root}/src/AllocTools.Connections/AllocTools.Connections.csproj" />
          </ItemGroup>
        </Project>
        """;

    [GeneratedRegex(@"^### (?<title>[^\n]+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    /// <summary>Matches a heading, text, a block, and the line that says what it prints.</summary>
    [GeneratedRegex(@"^### (?<title>[^\n]+)\n(?:(?!^### |^```).*\n)*^```csharp(?<compile> compile)?\n(?<code>(?:(?!^```).*\n)*)^```\n(?:\n(?:It|This) prints `(?<printed>[^`]+)`)?", RegexOptions.Multiline)]
    private static partial Regex Block();
}
