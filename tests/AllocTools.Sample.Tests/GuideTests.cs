using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>
/// Tests that the programs of docs/guide.md and docs/operations.md can be built and run unchanged, and that the
/// examples in the code's documentation compile.
/// </summary>
public sealed partial class GuideTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TwoServicesExchangeAddressesByHttpAndOneWritesIntoTheOthersMemory()
    {
        using TemporaryFolder folder = new();
        string guide = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "guide.md"), Token);
        await WriteFilesAsync(guide, folder);
        await Dotnet.BuildAsync(Path.Combine(folder.Path, "Owner"), "built");
        await Dotnet.BuildAsync(Path.Combine(folder.Path, "Writer"), "built");

        foreach (string program in new[] { "Owner", "Writer" })
            await AssertABrokenFileIsALineAsync(Path.Combine(folder.Path, program), program);

        string address = $"http://127.0.0.1:{FreePort()}/";
        using Process owner = Dotnet.Start(Path.Combine(folder.Path, "Owner"), "built/Owner.dll", "--urls", address);
        try
        {
            Task<string> errors = owner.StandardError.ReadToEndAsync(Token);
            string log = "";
            while (!log.Contains("Application started", StringComparison.Ordinal))
                log += await owner.StandardOutput.ReadLineAsync(Token) ?? throw new InvalidOperationException(log + await errors);
            Task<string> rest = owner.StandardOutput.ReadToEndAsync(Token);
            (int status, string output, string writerErrors) = await Dotnet.RunAsync(Path.Combine(folder.Path, "Writer"), "built/Writer.dll", "--Owner", address);
            Assert.True(status == 0, output + writerErrors);
            // There are 8 parts of 1 MiB, with bytes 1 to 8.
            Assert.Contains("The owner's bytes add up to 37748736.", output, StringComparison.Ordinal);

            using Process stop = Process.Start("kill", $"-TERM {owner.Id}");
            await owner.WaitForExitAsync(Token);
            Assert.True(owner.ExitCode == 0, log + await rest + await errors);
            Assert.DoesNotContain("buffers still rented", await rest, StringComparison.Ordinal);
        }
        finally
        {
            if (!owner.HasExited)
                owner.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task EachRankOfAnMpiJobWritesIntoTheMemoryOfTheNextOne()
    {
        using TemporaryFolder folder = new();
        await WriteFilesAsync(await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "guide.md"), Token), folder);
        string home = Path.Combine(folder.Path, "Ranks");
        await Dotnet.BuildAsync(home, "built");
        using Process job = Process.Start(new ProcessStartInfo("mpirun.mpich", ["-n", "3", "dotnet", "built/Ranks.dll"])
        {
            WorkingDirectory = home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> errors = job.StandardError.ReadToEndAsync(Token);
        string output = await job.StandardOutput.ReadToEndAsync(Token);
        await job.WaitForExitAsync(Token);
        Assert.True(job.ExitCode == 0, output + await errors);
        for (int rank = 0; rank < 3; rank++)
            Assert.Contains($"Rank {rank} of 3 has 1048576 bytes of rank {(rank + 2) % 3}.", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheProgramsOfNotificationsAndBatchesRunAsTheyStandThere()
    {
        using TemporaryFolder folder = new();
        string operations = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "operations.md"), Token);
        Dictionary<string, string> files = NamedBlock().Matches(operations).ToDictionary(m => m.Groups["name"].Value, m => m.Groups["code"].Value);
        string project = files["Notify/Notify.csproj"].Replace("../AllocTools/", Repository.Root + "/", StringComparison.Ordinal);
        foreach ((string name, string rest) in new[] { ("Notify", string.Concat(UnnamedBlock().Matches(operations).Select(m => m.Groups["code"].Value))), ("Batch", "") })
        {
            string home = Directory.CreateDirectory(Path.Combine(folder.Path, name)).FullName;
            await File.WriteAllTextAsync(Path.Combine(home, name + ".csproj"), project, Token);
            await File.WriteAllTextAsync(Path.Combine(home, "Program.cs"), files[name + "/Program.cs"], Token);
            // Code that is not a program of its own is compiled together with one.
            await File.WriteAllTextAsync(Path.Combine(home, "Rest.cs"), $"using AllocTools;\nusing AllocTools.Endpoints;\n\nstatic class Rest\n{{\n{rest.Replace("\nstatic ", "\npublic static ", StringComparison.Ordinal)}}}\n", Token);
            await Dotnet.BuildAsync(home, "built");
        }

        (int status, string output, string errors) = await Dotnet.RunAsync(Path.Combine(folder.Path, "Notify"), "built/Notify.dll");
        Assert.True(status == 0, output + errors);
        for (int block = 0; block < 16; block++)
            Assert.Single(output.Split('\n'), line => line == $"Block {block} is written: 65536 bytes");
        (status, output, errors) = await Dotnet.RunAsync(Path.Combine(folder.Path, "Batch"), "built/Batch.dll");
        Assert.True(status == 0, output + errors);
        for (int round = 1; round <= 3; round++)
            Assert.Contains($"Round {round}: 1048576 bytes in batch of 256 operations of 1 MiB, of provider 'tcp;ofi_rxm'\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheExamplesInTheDocumentationOfTheCodeCompile()
    {
        List<string> members = [];
        StringBuilder code = new("""
            using System.Buffers;
            using System.IO.Pipelines;
            using AllocTools;
            using AllocTools.Buffers;
            using AllocTools.Cells;
            using AllocTools.Collections;
            using AllocTools.Endpoints;
            using AllocTools.Libfabric;
            using Microsoft.Extensions.DependencyInjection;
            using Microsoft.Extensions.Hosting;
            using OpenTelemetry;
            using OpenTelemetry.Metrics;
            using OpenTelemetry.Trace;

            static class Examples
            {

            """);
        foreach (string path in Directory.EnumerateFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories).Where(p => !p.Contains("/obj/", StringComparison.Ordinal)))
        {
            foreach (Match documented in Documented().Matches(await File.ReadAllTextAsync(path, Token)))
            {
                XElement comment = XElement.Parse($"<c>{Slashes().Replace(documented.Groups["comment"].Value, "")}</c>", LoadOptions.PreserveWhitespace);
                foreach (XElement example in comment.Elements("example"))
                {
                    members.Add(documented.Groups["member"].Value);
                    code.Append("    public static async Task Example").Append(members.Count)
                        .AppendLine("(HostApplicationBuilder builder, IRmaMemoryPool pool, IRmaEndpoint endpoint, RmaPeer peer, RemoteRegion remote, byte[] address, byte[] memory, CancellationToken cancellationToken)")
                        .AppendLine("    {").AppendLine(example.Element("code")!.Value).AppendLine("        await Task.CompletedTask;").AppendLine("    }");
                }
            }
        }
        code.AppendLine("}");
        foreach (string first in new[] { "Rent(", "RentAsync(", "Return(", "Dispose(", "Span", "Memory", "Expose(", "Import(", "WriteAsync(", "ReadAsync(", "SendAsync(", "ReceiveAsync(", "ReceiveAllAsync(", "ReadNotificationsAsync(", "AsMemoryPool(", "ToPipeOptions(", "TryGet(", "CreateBatch(", "RunAsync(", "AddRmaMemoryPool<", "AddAllocToolsInstrumentation(" })
            Assert.Contains(members, m => m.Contains($" {first}", StringComparison.Ordinal) || m.EndsWith($" {first}", StringComparison.Ordinal));

        using TemporaryFolder folder = new();
        await File.WriteAllTextAsync(Path.Combine(folder.Path, "Examples.csproj"), ProgramProject.Text(Repository.Root, "Library"), Token);
        await File.WriteAllTextAsync(Path.Combine(folder.Path, "Examples.cs"), code.ToString(), Token);
        await Dotnet.BuildAsync(folder.Path, "built");
    }

    /// <summary>Asserts that an invalid JSON file is reported by its name and position, not by a stack trace.</summary>
    private static async Task AssertABrokenFileIsALineAsync(string home, string program)
    {
        string settings = Path.Combine(home, "appsettings.json");
        string good = await File.ReadAllTextAsync(settings, Token);
        await File.WriteAllTextAsync(settings, good.Replace(':', ' '), Token);
        (int status, string output, string errors) = await Dotnet.RunAsync(home, $"built/{program}.dll");
        await File.WriteAllTextAsync(settings, good, Token);
        Assert.True(status == 1, output + errors);
        string line = Assert.Single(errors.TrimEnd().Split('\n'));
        Assert.Contains("appsettings.json", line, StringComparison.Ordinal);
        Assert.Contains("LineNumber: ", line, StringComparison.Ordinal);
    }

    private static async Task WriteFilesAsync(string guide, TemporaryFolder folder)
    {
        foreach (Match file in NamedBlock().Matches(guide))
        {
            string path = Path.Combine(folder.Path, file.Groups["name"].Value);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            await File.WriteAllTextAsync(path, file.Groups["code"].Value.Replace("../../AllocTools/", Repository.Root + "/", StringComparison.Ordinal), Token);
        }
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>Matches a line that begins with a file's name and ends with a colon, and the block below it.</summary>
    [GeneratedRegex(@"^`(?<name>\w+/[\w.]+)`[^\n]*:\n\n```\w+\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex NamedBlock();

    /// <summary>Matches a block of C# that belongs to no file.</summary>
    [GeneratedRegex(@"(?<!^`[\w/.]+`[^\n]*)\n\n```csharp\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex UnnamedBlock();

    /// <summary>Matches the lines of a documentation comment, and the first line of the documented member.</summary>
    [GeneratedRegex(@"(?<comment>(?:^ *///[^\n]*\n)+)(?<member>[^\n]*)", RegexOptions.Multiline)]
    private static partial Regex Documented();

    [GeneratedRegex("^ */// ?", RegexOptions.Multiline)]
    private static partial Regex Slashes();
}
