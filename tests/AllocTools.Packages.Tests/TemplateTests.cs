using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Packages.Tests;

/// <summary>Tests that the output of <c>dotnet new alloctools-worker</c> can be built and run unchanged.</summary>
public sealed partial class TemplateTests(Packed packed)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("Default", "", "tcp;ofi_rxm")]
    [InlineData("Shared.Memory", "--provider libfabric --fabric shm", "shm")]
    [InlineData("my-service", "--provider ucx", "ucx")]
    public async Task AWorkerWritesIntoTheMemoryOfItsPeerAndBothEnd(string name, string parameters, string provider)
    {
        string home = await BuildAsync(name, parameters);
        using Process peer = packed.Start(home, "dotnet", $"built/{name}.dll", "--role", "peer", "--Transfer:Peer", "http://127.0.0.1:0");
        try
        {
            Task<string> errors = peer.StandardError.ReadToEndAsync(Token);
            StringBuilder log = new();
            string? address = null;
            bool hasStarted = false;
            while (!hasStarted)
            {
                string line = await peer.StandardOutput.ReadLineAsync(Token) ?? throw new InvalidOperationException(log + await errors);
                log.AppendLine(line);
                if (Listening().Match(line) is { Success: true } listening)
                    address = listening.Groups["address"].Value;
                hasStarted = line.Contains("Application started", StringComparison.Ordinal);
            }
            Task<string> rest = peer.StandardOutput.ReadToEndAsync(Token);
            using HttpClient http = new();
            Assert.Equal("Healthy", await http.GetStringAsync($"{address}/health", Token));
            Assert.Matches($"rma_pool_registered_bytes\\{{[^}}]*rma_provider=\"{provider}\"", await http.GetStringAsync($"{address}/metrics", Token));

            (int status, string output, string workerErrors) = await packed.RunAsync(home, $"dotnet built/{name}.dll --Transfer:Peer {address} --urls http://127.0.0.1:0");
            Assert.True(status == 0, output + workerErrors);
            Assert.Contains("The peer has 8388608 bytes.", output, StringComparison.Ordinal);
            Assert.DoesNotContain(" is lost", output, StringComparison.Ordinal);
            await peer.WaitForExitAsync(Token);
            log.Append(await rest);
            Assert.True(peer.ExitCode == 0, log + await errors);
            AssertAllBlocksArrived(log.ToString());
            await AssertSaysWhatIsWrongAsync(home, name);
        }
        finally
        {
            if (!peer.HasExited)
                peer.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task WithoutAFabricBothEndsAreInOneProcess()
    {
        string home = await BuildAsync("NoFabric", "--provider host");
        (int status, string output, string errors) = await packed.RunAsync(home, "dotnet built/NoFabric.dll --urls http://127.0.0.1:0");
        Assert.True(status == 0, output + errors);
        AssertAllBlocksArrived(output);
        Assert.Contains("The inbox has 8388608 bytes.", output, StringComparison.Ordinal);
    }

    /// <summary>Installs the template separately, generates a project, and builds it without a warning.</summary>
    private async Task<string> BuildAsync(string name, string parameters)
    {
        string folder = packed.NewFolder("template-" + name);
        string hive = $"--debug:custom-hive '{folder}/hive'";
        await packed.SuccessAsync(folder, $"dotnet new install '{packed.PathOf("AllocTools.Templates")}' {hive}");
        await packed.SuccessAsync(folder, $"dotnet new alloctools-worker --output {name} --no-restore {parameters} {hive}");
        string home = Path.Combine(folder, name);
        await packed.SuccessAsync(home, "dotnet build -c Release -o built -warnaserror -tl:off");
        // The schema that appsettings.json names is that of the package.
        Assert.Contains("\"$schema\": \"obj/alloctools.schema.json\"", await File.ReadAllTextAsync(Path.Combine(home, "appsettings.json"), Token), StringComparison.Ordinal);
        Assert.Equal(
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "src", "AllocTools.Hosting", "ConfigurationSchema.json"), Token),
            await File.ReadAllTextAsync(Path.Combine(home, "obj", "alloctools.schema.json"), Token));
        // No condition of the template is left in its output.
        foreach (string file in Directory.EnumerateFiles(home).Where(path => Path.GetExtension(path) is ".cs" or ".json" or ".csproj"))
            Assert.DoesNotMatch("#if|#el|#end|FABRIC|PACKAGES", await File.ReadAllTextAsync(file, Token));
        return home;
    }

    /// <summary>
    /// Asserts that a port in use, an unknown role, and an invalid JSON file each give one line, and the exit code 1.
    /// </summary>
    private async Task AssertSaysWhatIsWrongAsync(string home, string name)
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        await AssertFailsAsync($"--role peer --Transfer:Peer http://{other.LocalEndpoint}", $"http://{other.LocalEndpoint}: address already in use");
        await AssertFailsAsync("--role pear", "'pear'");
        await File.WriteAllTextAsync(Path.Combine(home, "appsettings.json"), "{\n  \"AllocTools\": {\n", Token);
        await AssertFailsAsync("", "LineNumber");

        async Task AssertFailsAsync(string arguments, string said)
        {
            (int status, string output, string errors) = await packed.RunAsync(home, $"dotnet built/{name}.dll {arguments}");
            Assert.True(status == 1, output + errors);
            Assert.Contains(said, Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", output, StringComparison.Ordinal);
        }
    }

    private static void AssertAllBlocksArrived(string log)
    {
        for (int block = 0; block < 8; block++)
            Assert.Contains($"Block {block} has arrived; its first byte is {block + 1}.", log, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"Now listening on: (?<address>http://\S+)")]
    private static partial Regex Listening();
}
