using System.Diagnostics;
using System.IO.Compression;
using AllocTools.Packages.Tests;
using AllocTools.Testing;
using Xunit;

[assembly: AssemblyFixture(typeof(Packed))]

namespace AllocTools.Packages.Tests;

/// <summary>
/// The packages that eng/pack builds from this repository, once for all tests, and a folder in which projects can use
/// them.
/// </summary>
/// <remarks>
/// They are built in a clone that seems to have come from <see cref="Address"/>, wherever the repository comes from.
/// Packages are restored to a folder of the tests, because the version of a package is that of the commit, and the
/// user's own folder would keep what was packed before an edit.
/// </remarks>
public sealed class Packed : IAsyncLifetime
{
    public const string Address = "https://github.com/example/alloctools";

    private readonly TemporaryFolder _folder = new();
    private readonly string _compiler = $"alloctools-{Guid.NewGuid():N}";
    private string? _restored;

    /// <summary>Gets the clone in which they were built.</summary>
    public string Clone => Path.Combine(_folder.Path, "clone");

    /// <summary>Gets the folder of the packages.</summary>
    public string Packages => PackagesOf(Clone);

    /// <summary>Gets the last line that eng/pack printed.</summary>
    public string LastLine { get; private set; } = "";

    /// <summary>Gets the version of all packages.</summary>
    public string Version { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        string clone = await CloneAsync(_folder.Path);
        string[] lines = (await PackAsync(clone)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        LastLine = lines[^1];
        Version = Path.GetFileName(Directory.GetFiles(Packages, "AllocTools.Hosting.*.nupkg").Single())["AllocTools.Hosting.".Length..^".nupkg".Length];

        string users = (await SuccessAsync(_folder.Path, "dotnet nuget locals global-packages --list")).Split(' ', 2)[1].Trim();
        // "  1.  nuget.org [Enabled]"
        IEnumerable<string> sources = (await SuccessAsync(_folder.Path, "dotnet nuget list source")).Split('\n')
            .Where(line => line.EndsWith(" [Enabled]", StringComparison.Ordinal))
            .Select(line => line[(line.IndexOf('.', StringComparison.Ordinal) + 1)..^" [Enabled]".Length].Trim());
        await File.WriteAllTextAsync(Path.Combine(_folder.Path, "nuget.config"), $"""
            <configuration>
              <packageSources>
                <add key="packed" value="{Packages}" />
              </packageSources>
              <packageSourceMapping>
                <packageSource key="packed"><package pattern="AllocTools*" /></packageSource>
                {string.Concat(sources.Select(source => $"""<packageSource key="{source}"><package pattern="*" /></packageSource>"""))}
              </packageSourceMapping>
              <fallbackPackageFolders>
                <add key="users" value="{users}" />
              </fallbackPackageFolders>
            </configuration>
            """);
        _restored = Path.Combine(_folder.Path, "restored");
    }

    /// <summary>Clones the repository with all files as they are now, including uncommitted ones.</summary>
    /// <returns>The clone, which seems to have come from <see cref="Address"/>.</returns>
    public async Task<string> CloneAsync(string folder)
    {
        await SuccessAsync(folder, $"""
            git clone --quiet --no-checkout '{Repository.Root}' clone
            git -C '{Repository.Root}' ls-files -z --cached --others --exclude-standard | tar --create --null --ignore-failed-read --directory='{Repository.Root}' --files-from=- 2>/dev/null | tar --extract --directory=clone
            git -C clone reset --quiet
            git -C clone remote set-url origin '{Address}'
            """);
        return Path.Combine(folder, "clone");
    }

    /// <summary>Runs eng/pack in a clone.</summary>
    /// <returns>Its output, which contains no warning.</returns>
    public async Task<string> PackAsync(string clone, string projects = "")
    {
        (int status, string output, string errors) = await RunAsync(clone, $"eng/pack {projects}");
        Assert.True(status == 0, output + errors);
        Assert.DoesNotContain("warning", output + errors, StringComparison.Ordinal);
        return output;
    }

    /// <summary>Returns the folder into which eng/pack puts packages.</summary>
    public static string PackagesOf(string clone) => Path.Combine(clone, "artifacts", "packages");

    /// <summary>Creates a folder for a project that uses the packages.</summary>
    public string NewFolder(string name) => Directory.CreateDirectory(Path.Combine(_folder.Path, "projects", name)).FullName;

    /// <summary>Returns the path of a package.</summary>
    public string PathOf(string package, string extension = "nupkg") => Path.Combine(Packages, $"{package}.{Version}.{extension}");

    /// <summary>Opens a package.</summary>
    public ZipArchive Open(string package, string extension = "nupkg") => ZipFile.OpenRead(PathOf(package, extension));

    /// <summary>Runs lines in a shell, which must succeed.</summary>
    /// <returns>Their output.</returns>
    public async Task<string> SuccessAsync(string folder, string lines)
    {
        (int status, string output, string errors) = await RunAsync(folder, lines);
        Assert.True(status == 0, output + errors);
        return output;
    }

    /// <summary>Runs lines in a shell, which exits at the first one that fails.</summary>
    public async Task<(int Status, string Output, string Errors)> RunAsync(string folder, string lines)
    {
        using Process process = Start(folder, "bash", "-e", "-o", "pipefail", "-c", lines);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    /// <summary>
    /// Starts a program. The compiler server is kept for the next one, and ends with the tests; no other build server
    /// is left behind.
    /// </summary>
    public Process Start(string folder, params string[] command)
    {
        ProcessStartInfo start = new(command[0], command[1..])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["UseSharedCompilation"] = "true";
        start.Environment["SharedCompilationId"] = _compiler;
        // Builds of the repository analyze its code, and check its packages for advisories; a test must not fail
        // because of a new one.
        start.Environment["RunAnalyzers"] = "false";
        start.Environment["NuGetAudit"] = "false";
        // The tests read the output of the command.
        start.Environment["DOTNET_CLI_UI_LANGUAGE"] = "en";
        start.Environment["DOTNET_NOLOGO"] = "1";
        if (_restored is not null)
            start.Environment["NUGET_PACKAGES"] = _restored;
        return Process.Start(start)!;
    }

    public async ValueTask DisposeAsync()
    {
        string roslyn = (await SuccessAsync(Clone, "dotnet msbuild src/AllocTools.Telemetry -getProperty:RoslynTargetsPath")).Trim();
        await SuccessAsync(_folder.Path, $"dotnet '{roslyn}/bincore/VBCSCompiler.dll' '-pipename:{_compiler}' -shutdown");
        _folder.Dispose();
    }
}
