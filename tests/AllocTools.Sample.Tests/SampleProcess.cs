using System.Diagnostics;
using System.Text;
using AllocTools.Testing;

namespace AllocTools.Sample.Tests;

/// <summary>The built sample as a process, which is ended with the test.</summary>
internal sealed class SampleProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TestTime.Seconds(90);
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly Task<string> _error;

    public SampleProcess(params string[] arguments)
        : this([], arguments)
    {
    }

    /// <summary>Starts it behind a wrapper such as <c>prlimit</c>.</summary>
    public SampleProcess(string[] wrapper, string[] arguments, string sample = "WorkerService")
    {
        string[] all = [.. wrapper, ExecutablePath(sample), .. arguments];
        _process = Process.Start(new ProcessStartInfo(all[0], all[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            UseShellExecute = false,
        })!;
        _error = _process.StandardError.ReadToEndAsync();
    }

    /// <summary>Starts the sample that keeps a pool busy, or drills it.</summary>
    public static SampleProcess PoolDrill(params string[] arguments) => new([], arguments, "PoolDrill");

    /// <summary>
    /// Returns its arguments for a provider, or for PROVIDER@NODE, with timeouts for a machine as slow as this one;
    /// later arguments take precedence.
    /// </summary>
    public static string[] On(string fabric)
    {
        string[] where = fabric.Split('@') is [var provider, var node] ? ["--provider", provider, "--node", node] : ["--provider", fabric];
        return
        [
            .. where,
            FormattableString.Invariant($"--Transfer:StartTimeout={TestTime.Seconds(30).TotalSeconds}"),
            FormattableString.Invariant($"--Transfer:Timeout={TestTime.Seconds(10).TotalSeconds}"),
        ];
    }

    public int Id => _process.Id;

    /// <summary>Reads its output up to the first line that contains the text.</summary>
    public async Task<string> ReadUntilAsync(string text)
    {
        while (await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience) is { } line)
        {
            _output.AppendLine(line);
            if (line.Contains(text, StringComparison.Ordinal))
                return line;
        }
        throw new InvalidOperationException($"It ended before it said '{text}': {await _error}");
    }

    public async Task WriteLineAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    public async Task<string> ReadLineAsync() => await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience)
        ?? throw new InvalidOperationException($"It ended: {await _error}");

    /// <summary>Waits until it exits on its own.</summary>
    public async Task<SampleResult> EndAsync()
    {
        _output.Append(await _process.StandardOutput.ReadToEndAsync().WaitAsync(Patience));
        await _process.WaitForExitAsync().WaitAsync(Patience);
        return new SampleResult(_process.ExitCode, _output.ToString(), await _error.WaitAsync(Patience));
    }

    /// <summary>Returns the process that it started, from the kernel's list.</summary>
    public int ChildId()
    {
        // Each thread has a list of the processes that it started.
        IEnumerable<string> children = Directory.EnumerateDirectories($"/proc/{_process.Id}/task")
            .SelectMany(thread => File.ReadAllText(Path.Combine(thread, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return int.Parse(children.Single(), System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Sends SIGKILL to this process only.</summary>
    public void Kill() => _process.Kill(entireProcessTree: false);

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }
        _process.Dispose();
        SharedMemoryLeftovers.Remove();
    }

    private static string ExecutablePath(string sample)
    {
        string here = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar);
        return Path.GetFullPath(Path.Combine(here, "..", "..", sample, Path.GetFileName(here), sample));
    }
}
