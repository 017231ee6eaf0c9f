using System.Diagnostics;
using System.Text.Json.Nodes;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Doctor.Tests;

/// <summary>A run of the tool's own executable.</summary>
internal sealed record Tool(int ExitCode, string Output, string Errors, int ProcessId)
{
    /// <summary>Gets the path of the built tool.</summary>
    public static string Program { get; } = Path.Combine(Repository.Root, "artifacts/bin/AllocTools.Tool/release/AllocTools.Tool");

    /// <summary>Gets the report; fails if there is none.</summary>
    public JsonObject Json => JsonNode.Parse(Output)!.AsObject();

    /// <summary>Returns the findings of a check, or those with that name.</summary>
    public JsonObject[] Findings(string check) => [.. Json["findings"]!.AsArray().Select(static f => f!.AsObject()).Where(f => (string?)f["check"] == check)];

    public static Task<Tool> RunAsync(params string[] arguments) => StartAsync(Program, arguments);

    /// <summary>Runs a program that starts the tool, such as prlimit.</summary>
    public static async Task<Tool> StartAsync(string program, params string[] arguments)
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(token), errors = process.StandardError.ReadToEndAsync(token);
            await process.WaitForExitAsync(token).WaitAsync(TestTime.Seconds(90), token);
            return new Tool(process.ExitCode, await output, await errors, process.Id);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
