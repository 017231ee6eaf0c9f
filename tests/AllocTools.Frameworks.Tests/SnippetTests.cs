using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Testing;

namespace AllocTools.Frameworks.Tests;

/// <summary>
/// Tests that the programs of docs/connections.md can be built and run unchanged, and that its other examples compile.
/// </summary>
public sealed partial class SnippetTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AServiceOverSocketsNeedsNoMoreThanTheLinesThatAreMarked()
    {
        using var folder = new TemporaryFolder();
        string guide = await ReadAsync();
        foreach (Match file in NamedBlock().Matches(guide))
        {
            string code = file.Groups["code"].Value.Replace("../../AllocTools/", Repository.Root + "/", StringComparison.Ordinal);
            await WriteAsync(Path.Combine(folder.Path, "rma", file.Groups["name"].Value), code);
            await WriteAsync(Path.Combine(folder.Path, "sockets", file.Groups["name"].Value), Reference().Replace(MarkedLine().Replace(code, ""), ""));
        }
        Assert.Equal(9, MarkedLine().Count(guide));
        foreach (string transport in (string[])["sockets", "rma"])
        {
            foreach (string project in (string[])["Server", "Client"])
                await Dotnet.BuildAsync(Path.Combine(folder.Path, transport, project), "built");
            string[] fabric = transport == "sockets" ? [] : ["--AllocTools:Provider:Provider", "shm"];
            using Process server = Dotnet.Start(Path.Combine(folder.Path, transport, "Server"), ["built/Server.dll", "--urls", "http://127.0.0.1:0", .. fabric]);
            try
            {
                Task<string> errors = server.StandardError.ReadToEndAsync(Token);
                string log = "";
                while (!log.Contains("Application started", StringComparison.Ordinal))
                    log += await server.StandardOutput.ReadLineAsync(Token) is { } line ? line + "\n" : throw new InvalidOperationException(log + await errors);
                // The log shows the transport: log entries of connections appear only over the fabric.
                Assert.Equal(transport == "rma", log.Contains("Listening for connections over provider 'shm'", StringComparison.Ordinal));
                Task<string> rest = server.StandardOutput.ReadToEndAsync(Token);
                (int status, string output, string clientErrors) = await Dotnet.RunAsync(
                    Path.Combine(folder.Path, transport, "Client"), ["built/Client.dll", "--Server", ListeningAt().Match(log).Groups[1].Value, .. fabric]);
                Assert.True(status == 0, output + clientErrors);
                Assert.DoesNotContain("buffers still rented", output + clientErrors, StringComparison.Ordinal);
                Assert.Single(output.Split('\n'), static l => l.StartsWith("268435456 bytes in ", StringComparison.Ordinal));
                using Process stop = Process.Start("kill", $"-TERM {server.Id}");
                await server.WaitForExitAsync(Token);
                string all = log + await rest + await errors;
                Assert.True(server.ExitCode == 0, all);
                Assert.DoesNotContain("buffers still rented", all, StringComparison.Ordinal);
            }
            finally
            {
                if (!server.HasExited)
                    server.Kill(entireProcessTree: true);
            }
        }
    }

    [Fact]
    public async Task TheExamplesCompile()
    {
        string guide = await ReadAsync();
        string[] named = [.. NamedBlock().Matches(guide).Select(static m => m.Groups["code"].Value)];
        string[] examples = [.. Block().Matches(guide).Select(static m => m.Groups["code"].Value).Where(code => !named.Contains(code))];
        Assert.True(examples.Length >= 12, $"{examples.Length} examples");
        var code = new StringBuilder("""
            using System.IO.Pipelines;
            using System.Net;
            using System.Net.Security;
            using System.Net.WebSockets;
            using System.Security.Cryptography.X509Certificates;
            using AllocTools;
            using AllocTools.Connections;
            using AllocTools.Connections.Directories;
            using AllocTools.Endpoints;
            using AllocTools.Libfabric;
            using Microsoft.AspNetCore.Http.Connections.Client;
            using Microsoft.AspNetCore.SignalR.Client;
            using Orleans.Hosting;

            """);
        // Classes are compiled as they are; the rest is code that belongs into methods.
        foreach (string example in examples.Where(IsType))
            code.AppendLine(example);
        code.AppendLine("""
            public static class Orders
            {
                public sealed class OrdersClient(Grpc.Core.CallInvoker invoker) : Grpc.Core.ClientBase(invoker);
            }

            public sealed class MyTokens : DelegatingHandler;

            internal static class Examples
            {
                private static readonly WebApplicationBuilder builder = null!;
                private static readonly WebApplication app = null!;
                private static readonly IRmaMemoryPool pool = null!;
                private static readonly RmaConnections connections = null!;
                private static readonly IRmaDirectory directory = null!;
                private static readonly SocketsHttpHandler handler = null!;
                private static readonly HttpConnectionOptions options = null!;
                private static readonly RemoteRegion remote = null!;
                private static readonly RmaBuffer source;
                private static readonly byte[] bytes = null!;

            """);
        int number = 0;
        foreach (string example in examples.Where(static e => !IsType(e)))
            code.AppendLine($"    private static async Task Example{++number}()\n    {{\n{example}        await Task.CompletedTask;\n    }}\n");
        code.AppendLine("}");
        using var folder = new TemporaryFolder();
        await WriteAsync(Path.Combine(folder.Path, "Examples.cs"), code.ToString());
        await WriteAsync(Path.Combine(folder.Path, "Examples.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk.Web">
              <PropertyGroup>
                <OutputType>Library</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <NuGetAudit>false</NuGetAudit>
                <!-- Examples leave out what follows them. -->
                <NoWarn>$(NoWarn);CS0219;CS0168;CS1998;CA1823;CS0169;CS0414;CS0649</NoWarn>
              </PropertyGroup>
              <ItemGroup>
                {string.Join("\n    ", ((string[])["Grpc.AspNetCore", "Microsoft.AspNetCore.SignalR.Client", "Microsoft.Orleans.Server", "Microsoft.Orleans.Client"]).Select(static p => $"<PackageReference Include=\"{p}\" Version=\"{VersionOf(p)}\" />"))}
                <ProjectReference Include="{Repository.Root}/src/AllocTools.Connections.Orleans/AllocTools.Connections.Orleans.csproj" />
                <ProjectReference Include="{Repository.Root}/src/AllocTools.Connections.Redis/AllocTools.Connections.Redis.csproj" />
              </ItemGroup>
            </Project>
            """);
        await Dotnet.BuildAsync(folder.Path, "built");
    }

    private static Task<string> ReadAsync() => File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "connections.md"), Token);

    private static async Task WriteAsync(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await File.WriteAllTextAsync(path, text, Token);
    }

    private static string VersionOf(string package) =>
        XDocument.Load(Path.Combine(Repository.Root, "Directory.Packages.props")).Descendants("PackageVersion").Single(p => (string)p.Attribute("Include")! == package).Attribute("Version")!.Value;

    private static bool IsType(string code) => code.StartsWith("public sealed class", StringComparison.Ordinal);

    /// <summary>Matches a line that begins with a file's name and ends with a colon, and the block below it.</summary>
    [GeneratedRegex(@"^`(?<name>\w+/[\w.]+)`:\n\n```\w+\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex NamedBlock();

    [GeneratedRegex(@"^```csharp\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"^.* // RMA\n", RegexOptions.Multiline)]
    private static partial Regex MarkedLine();

    [GeneratedRegex(@"^ *<ProjectReference .*\n", RegexOptions.Multiline)]
    private static partial Regex Reference();

    [GeneratedRegex(@"Now listening on: (http://\S+)")]
    private static partial Regex ListeningAt();
}
