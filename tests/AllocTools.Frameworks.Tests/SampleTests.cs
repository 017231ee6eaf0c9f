using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Testing;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests the samples: services and silos in processes of their own.</summary>
public sealed partial class SampleTests
{
    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AServiceStreamsToAClientInAnotherProcess(string fabric)
    {
        (int status, string output) = await RunAsync("GrpcOverRma", [.. On(fabric), "--mib", "64"]);
        Assert.True(status == 0, output);
        Assert.StartsWith("64 MiB in chunks of 256 KiB, between processes ", output, StringComparison.Ordinal);
        // There is a time and two speeds, both over sockets and over the fabric.
        Assert.Equal(2, Speeds().Count(output));
        Assert.EndsWith("All bytes arrived as they were sent.\n", output, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task GrainsCallEachOtherFromProcessToProcess(string fabric)
    {
        (int status, string output) = await RunAsync("OrleansOverRma", [.. On(fabric), "--grains", "20", "--calls", "20"]);
        Assert.True(status == 0, output);
        Match result = Across().Match(output);
        Assert.True(result.Success && int.Parse(result.Groups[1].Value, CultureInfo.InvariantCulture) > 0, output);
    }

    [Theory]
    [InlineData("GrpcOverRma")]
    [InlineData("OrleansOverRma")]
    public async Task AFabricThatIsNotThereIsAClearError(string sample)
    {
        (int status, string output) = await RunAsync(sample, ["--provider", "nothing"]);
        Assert.Equal(1, status);
        Assert.Contains("nothing", output, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GrpcOverRma", "--mib", "x", "--mib is 'x'; it must be a number between 1 and 1,048,576.")]
    [InlineData("GrpcOverRma", "--provder", "shm", "Unknown option '--provder'. Did you mean --provider?")]
    [InlineData("OrleansOverRma", "--calls", "abc", "--calls is 'abc'; it must be a number between 1 and 1,048,576.")]
    [InlineData("OrleansOverRma", "--provder", "shm", "Unknown option '--provder'. Did you mean --provider?")]
    public async Task AnArgumentThatIsNoneIsOneLine(string sample, string name, string value, string error)
    {
        (int status, string output) = await RunAsync(sample, [name, value]);
        Assert.Equal(2, status);
        Assert.Equal($"error: {error}\n", output);
    }

    [Theory]
    [InlineData("GrpcOverRma", "--mib")]
    [InlineData("OrleansOverRma", "--grains")]
    public async Task HelpListsTheSwitches(string sample, string name)
    {
        (int status, string output) = await RunAsync(sample, ["--help"]);
        Assert.Equal(0, status);
        Assert.Contains(name, output, StringComparison.Ordinal);
        Assert.DoesNotContain("process", output, StringComparison.Ordinal);
    }

    /// <summary>Otherwise the client would continue for hours.</summary>
    [Fact]
    public async Task TheServiceAndItsClientEndAtSigTerm()
    {
        using Process process = Start("GrpcOverRma", ["--mib", "1048576"]);
        try
        {
            Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            while (!(await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) ?? throw new InvalidOperationException(await errors)).Contains("one call (median)", StringComparison.Ordinal))
                continue;
            using (Process kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]))
                await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
            Assert.Equal(130, process.ExitCode);
            Assert.DoesNotContain("   at ", await errors, StringComparison.Ordinal);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData("GrpcOverRma")]
    [InlineData("OrleansOverRma")]
    public void ASampleIsShort(string sample) =>
        Assert.True(File.ReadLines(Path.Combine(Repository.Root, "samples", sample, "Program.cs")).Count() < 200);

    private static string[] On(string fabric)
    {
        LibfabricOptions options = Fabric.Options(fabric);
        return ["--provider", options.Provider!, .. options.Node is { } node ? (string[])[$"--AllocTools:Provider:Node={node}"] : []];
    }

    private static async Task<(int Status, string Output)> RunAsync(string sample, string[] arguments)
    {
        using Process process = Start(sample, arguments);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TestTime.Seconds(90), TestContext.Current.CancellationToken);
            return (process.ExitCode, process.ExitCode == 0 ? await output : await output + await errors);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static Process Start(string sample, string[] arguments)
    {
        string here = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar);
        string path = Path.GetFullPath(Path.Combine(here, "..", "..", sample, Path.GetFileName(here), sample));
        return Process.Start(new ProcessStartInfo(path, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
    }

    [GeneratedRegex(@"^\S+ +[0-9.]+ us +[0-9.]+ GiB/s +[0-9.]+ GiB/s$", RegexOptions.Multiline)]
    private static partial Regex Speeds();

    [GeneratedRegex(@"^(\d+) calls went from process to process and came back\.$", RegexOptions.Multiline)]
    private static partial Regex Across();
}
