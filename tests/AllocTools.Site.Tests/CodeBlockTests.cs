using System.Diagnostics;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Site.Tests;

/// <summary>
/// Checks that no block of code in a document is untested: each is run by a test of its own, or compiled or read here.
/// </summary>
public sealed class CodeBlockTests
{
    // The tests that compile or run the blocks of a document in these languages.
    private static readonly (string Document, string Test, string[] Languages)[] TestedElsewhere =
    [
        ("docs/connections.md", "tests/AllocTools.Frameworks.Tests/SnippetTests.cs", ["csharp", "xml"]),
        ("docs/getting-started.md", "tests/AllocTools.Site.Tests/GettingStartedTests.cs", ["csharp", "xml"]),
        ("docs/guide.md", "tests/AllocTools.Sample.Tests/GuideTests.cs", ["xml"]),
        ("docs/guide.md", "tests/AllocTools.Sample.Tests/MemoryGuideTests.cs", ["csharp"]),
        ("docs/messages.md", "tests/AllocTools.Libfabric.Tests/MessageTests.cs", ["csharp"]),
        ("docs/operations.md", "tests/AllocTools.Sample.Tests/GuideTests.cs", ["csharp", "xml"]),
        ("docs/providers.md", "tests/AllocTools.Hosting.Tests/ThirdParty/ThirdPartyTests.cs", ["csharp", "json", "xml"]),
        ("docs/telemetry.md", "tests/AllocTools.Telemetry.Tests/DashboardTests.cs", ["promql"]),
    ];

    private static readonly string[] SectionsOfFurtherPools = ["Gradients", "Local"];

    private const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Microsoft.Extensions.Configuration;
        global using Microsoft.Extensions.DependencyInjection;
        global using Microsoft.Extensions.Hosting;
        global using Microsoft.Extensions.Logging;
        """;

    // The code that the blocks of these documents take for granted.
    private const string Prelude = """
        using System.Diagnostics.Metrics;
        using AllocTools;
        using AllocTools.Caching;
        using AllocTools.Collections;
        using AllocTools.Connections;
        using AllocTools.Diagnostics;
        using AllocTools.Endpoints;
        using AllocTools.Hosting;
        using AllocTools.HostMemory;
        using AllocTools.Libfabric;
        using AllocTools.MultiRail;
        using AllocTools.Regions;
        using Microsoft.Extensions.Options;
        using OpenTelemetry;
        using OpenTelemetry.Metrics;
        using OpenTelemetry.Trace;

        var builder = Host.CreateApplicationBuilder();
        IHost app = builder.Build();
        IRmaMemoryPool pool = app.Services.GetRequiredService<IRmaMemoryPool>();
        IRmaEndpoint endpoint = app.Services.GetRequiredService<IRmaEndpoint>();
        IMeterFactory meterFactory = app.Services.GetRequiredService<IMeterFactory>();
        RemoteRegion remote = null!;
        byte[] array = new byte[4096];
        await Task.CompletedTask;

        """;

    public static TheoryData<string, int> CompiledHere => [.. Document.All.SelectMany(d => d.CodeBlocks).Where(block => block.Language == "csharp" && !IsTestedElsewhere(block)).Select(block => (block.Document, block.Line))];

    public static TheoryData<string, int> SettingsReadHere => [.. Document.All.SelectMany(d => d.CodeBlocks).Where(block => block.Language == "json" && !IsTestedElsewhere(block)).Select(block => (block.Document, block.Line))];

    [Fact]
    public void EachTestThatIsNamedHereReadsItsDocument() => Assert.All(TestedElsewhere, entry =>
    {
        string test = File.ReadAllText(Path.Combine(Repository.Root, entry.Test));
        // The test names the document by its whole path, or by its parts.
        string[] names = [$"\"{entry.Document}\"", $"\"{entry.Document.Replace("/", "\", \"", StringComparison.Ordinal)}\""];
        Assert.True(names.Any(name => test.Contains(name, StringComparison.Ordinal)), $"{entry.Test} does not read {entry.Document}.");
        Assert.All(entry.Languages, language => Assert.Contains(Document.Named(entry.Document).CodeBlocks, block => block.Language == language));
    });

    [Fact]
    public void EachBlockOfCodeIsTested()
    {
        // LinkTests check the paths in shell lines. Text is a program's output or a drawing. The others belong to other
        // programs: systemd's units, Kubernetes, C++.
        string[] free = ["bash", "text", "ini", "yaml", "cpp"];
        Assert.All(
            Document.All.SelectMany(document => document.CodeBlocks),
            block => Assert.True(
                free.Contains(block.Language) || block.Language is "csharp" or "json" || IsTestedElsewhere(block),
                $"No test is named for the block of '{block.Language}' at {block}."));
    }

    /// <summary>
    /// Lines for a shell are valid in the shell's language. What they do is tested elsewhere: by the demo, the packages
    /// and the tool.
    /// </summary>
    [Fact]
    public async Task EachBlockForAShellCanBeParsedByIt()
    {
        CodeBlock[] blocks = [.. Document.All.SelectMany(document => document.CodeBlocks).Where(block => block.Language == "bash")];
        Assert.NotEmpty(blocks);
        foreach (CodeBlock block in blocks)
        {
            using Process shell = Process.Start(new ProcessStartInfo("bash", ["-n"]) { RedirectStandardInput = true, RedirectStandardError = true })!;
            Task<string> errors = shell.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await shell.StandardInput.WriteAsync(block.Code);
            shell.StandardInput.Close();
            await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(shell.ExitCode == 0, $"{block}: {await errors}");
        }
    }

    /// <summary>The block compiles as a program, after the code that the document takes for granted.</summary>
    [Theory]
    [MemberData(nameof(CompiledHere))]
    public void ABlockCompiles(string document, int line)
    {
        CodeBlock block = Document.Named(document).CodeBlocks.Single(b => b.Line == line);
        string[] usings = [.. block.Code.Split('\n').Where(l => l.StartsWith("using ", StringComparison.Ordinal) && l.EndsWith(';') && !l.Contains('=', StringComparison.Ordinal))];
        // A whole program has its own usings and variables.
        string code = usings.Length > 0 ? block.Code : Prelude + block.Code;
        CSharpCompilation compilation = CSharpCompilation.Create(
            "Block",
            [CSharpSyntaxTree.ParseText(Usings, cancellationToken: TestContext.Current.CancellationToken), CSharpSyntaxTree.ParseText(code, cancellationToken: TestContext.Current.CancellationToken)],
            ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(':').Select(path => MetadataReference.CreateFromFile(path)),
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable));
        string[] errors = [.. compilation.GetDiagnostics(TestContext.Current.CancellationToken).Where(d => d.Severity == DiagnosticSeverity.Error).Select(d => d.ToString())];
        Assert.True(errors.Length == 0, $"{block}\n{string.Join('\n', errors)}\n{code}");
    }

    /// <summary>
    /// All keys are known and all values valid. A part of a file is read as if it were in the section of the pool.
    /// </summary>
    [Theory]
    [MemberData(nameof(SettingsReadHere))]
    public void SettingsAreValid(string document, int line)
    {
        CodeBlock block = Document.Named(document).CodeBlocks.Single(b => b.Line == line);
        string json = block.Code.TrimStart().StartsWith('{') ? block.Code : $$"""{ "AllocTools": { {{block.Code}} } }""";
        using MemoryStream stream = new(System.Text.Encoding.UTF8.GetBytes(json));
        IConfigurationRoot configuration = new ConfigurationBuilder().AddJsonStream(stream).Build();
        IConfigurationSection section = configuration.GetSection("AllocTools");
        Assert.True(section.Exists(), $"{block} has no section AllocTools.");
        ServiceCollection services = new();
        services.AddLogging();
        // A comment above the block names a provider other than libfabric's.
        _ = block.Mark switch
        {
            "<!-- UcxProvider -->" => services.AddRmaMemoryPool<UcxProvider>(section).RequireSection(),
            _ => services.AddRmaMemoryPool<LibfabricProvider>(section).RequireSection(),
        };
        services.AddRmaConnections();
        if (section.GetSection("Directory:Redis").Exists())
            services.AddRmaDirectory().UseRedis();
        else if (section.GetSection("Directory").Exists())
            services.AddRmaDirectory();
        // A section below the pool's section belongs to another pool.
        foreach (string name in SectionsOfFurtherPools.Where(name => section.GetSection(name).Exists()))
            services.AddRmaMemoryPool<LibfabricProvider>(name, section.GetSection(name));
        using ServiceProvider provider = services.BuildServiceProvider();
        // This checks the options of all pools of the container.
        provider.GetRequiredService<IStartupValidator>().Validate();
    }

    private static bool IsTestedElsewhere(CodeBlock block) => TestedElsewhere.Any(entry => entry.Document == block.Document && entry.Languages.Contains(block.Language.Split(' ')[0]));
}
