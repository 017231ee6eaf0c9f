using System.Diagnostics;
using System.Text;

namespace AllocTools.Testing;

/// <summary>The other process, as the tests see it: it answers each line with a line. It is ended with the test.</summary>
public sealed class PeerProcess : IAsyncDisposable
{
    private static readonly TimeSpan AnswerTime = TestTime.Seconds(60);
    private readonly Process _process;
    private readonly StringBuilder _errors = new();
    private readonly Action<string> _note = FailureNotesAttribute.ForCurrentTest;

    public PeerProcess(params string[] arguments)
        : this([], arguments)
    {
    }

    /// <summary>Starts it behind a wrapper such as <c>prlimit</c>, from a folder other than where it was built.</summary>
    public PeerProcess(string[] wrapper, string[] arguments, string? folder = null)
        : this(Command([.. wrapper, Path.Combine(folder ?? BuiltFolder, "AllocTools.TestPeer"), .. arguments]))
    {
    }

    private PeerProcess(ProcessStartInfo start)
    {
        // Only the target's own libfabric may know what goes wrong there.
        start.Environment["FI_LOG_LEVEL"] = "warn";
        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, line) =>
        {
            lock (_errors)
                _errors.AppendLine(line.Data);
        };
        _process.BeginErrorReadLine();
    }

    /// <summary>Starts another program that reads and writes lines as well.</summary>
    public static PeerProcess Run(params string[] command) => new(Command(command));

    /// <summary>Gets the folder that it is built to.</summary>
    public static string BuiltFolder
    {
        get
        {
            string here = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar);
            return Path.GetFullPath(Path.Combine(here, "..", "..", "AllocTools.TestPeer", Path.GetFileName(here)));
        }
    }

    public int Id => _process.Id;

    public async Task<string> AskAsync(string line)
    {
        await TellAsync(line);
        return await AnswerAsync();
    }

    public async Task TellAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    public async Task<string> AnswerAsync() =>
        await _process.StandardOutput.ReadLineAsync().WaitAsync(AnswerTime) ?? throw new InvalidOperationException("The peer has ended.");

    /// <summary>Closes its input. The process exits once it has read everything.</summary>
    public void CloseInput() => _process.StandardInput.Close();

    /// <summary>Returns everything that it prints until it exits.</summary>
    public async Task<string> ReadToEndAsync()
    {
        CloseInput();
        string output = await _process.StandardOutput.ReadToEndAsync().WaitAsync(AnswerTime);
        await _process.WaitForExitAsync().WaitAsync(AnswerTime);
        return output;
    }

    /// <summary>Kills it by SIGKILL, so that it has no time to say goodbye.</summary>
    public async Task KillAsync()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        SharedMemoryLeftovers.Remove();
    }

    /// <summary>Asks it to stop by SIGTERM, and waits until it has.</summary>
    /// <returns>Its exit code, and what it printed.</returns>
    public async Task<(int ExitCode, string Output)> StopAsync()
    {
        Signal("-TERM");
        return await EndAsync();
    }

    /// <summary>Waits until it exits on its own.</summary>
    /// <returns>Its exit code, and what it printed.</returns>
    public async Task<(int ExitCode, string Output)> EndAsync()
    {
        string output = await _process.StandardOutput.ReadToEndAsync().WaitAsync(AnswerTime);
        await _process.WaitForExitAsync().WaitAsync(AnswerTime);
        return (_process.ExitCode, output);
    }

    /// <summary>Suspends it by SIGSTOP: it still exists, but does nothing.</summary>
    public async Task SuspendAsync()
    {
        Signal("-STOP");
        // Each thread stops when it next looks for signals.
        while (Directory.EnumerateDirectories($"/proc/{_process.Id}/task").Any(IsRunning))
            await Task.Yield();
    }

    public void Resume() => Signal("-CONT");

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _note(Describe());
            await KillAsync();
        }
        lock (_errors)
            _note($"The peer {Id} said:\n{_errors}");
        _process.Dispose();
    }

    private static ProcessStartInfo Command(string[] command) => new(command[0], command[1..])
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        UseShellExecute = false,
    };

    /// <summary>Describes its threads for a test that fails: their names, states and processor times.</summary>
    private string Describe()
    {
        StringBuilder text = new($"The threads of the peer {Id}, with their states and processor time (user, system):\n");
        foreach (string thread in Directory.EnumerateDirectories($"/proc/{_process.Id}/task"))
        {
            if (StatOf(thread) is not { } stat)
                continue;
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            text.AppendLine($"{stat[..(stat.LastIndexOf(')') + 1)]} {fields[0]} {fields[11]} {fields[12]}");
        }
        return text.ToString();
    }

    /// <summary>Whether a thread is running. Its state follows the name, which is in parentheses: proc(5).</summary>
    private static bool IsRunning(string thread) => StatOf(thread) is { } text && text[text.LastIndexOf(')') + 2] is not ('T' or 'Z');

    /// <summary>Returns what proc(5) reports about a thread, or null if it has ended.</summary>
    private static string? StatOf(string thread)
    {
        try
        {
            return File.ReadAllText(Path.Combine(thread, "stat"));
        }
        catch (IOException)
        {
            return null;
        }
    }

    private void Signal(string signal)
    {
        using var kill = Process.Start("kill", [signal, _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}
