using System.Diagnostics;
using Xunit;

namespace AllocTools.Testing;

/// <summary>The dotnet command, for programs shown in documents.</summary>
internal static class Dotnet
{
    // Builds write to the folders of the projects they refer to, which they share.
    private static readonly SemaphoreSlim OneBuild = new(1);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>Builds the project of a folder, with warnings as errors. No build server is left behind.</summary>
    public static async Task BuildAsync(string folder, string output, params string[] more)
    {
        await OneBuild.WaitAsync(Token);
        try
        {
            (int status, string said, string errors) = await RunAsync(
                folder, ["build", "-c", "Release", "-o", output, "-warnaserror", "-tl:off", "-nodeReuse:false", "-p:UseSharedCompilation=false", .. more]);
            Assert.True(status == 0, said + errors);
        }
        finally
        {
            OneBuild.Release();
        }
    }

    public static async Task<(int Status, string Output, string Errors)> RunAsync(string folder, params string[] arguments)
    {
        using Process process = Start(folder, arguments);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(Token);
            Task<string> errors = process.StandardError.ReadToEndAsync(Token);
            await process.WaitForExitAsync(Token);
            return (process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    public static Process Start(string folder, params string[] arguments) => Process.Start(new ProcessStartInfo("dotnet", arguments)
    {
        WorkingDirectory = folder,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    })!;
}
