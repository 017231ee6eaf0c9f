using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;

namespace WorkerService;

/// <summary>A receiver that this process started. It ends with this object, and with this process however that ends.</summary>
internal sealed class ReceiverProcess : IAsyncDisposable
{
    /// <summary>The argument before the settings of such a process.</summary>
    public const string Argument = "child";

    /// <summary>What ends it in good order. An end of its input without it means that the parent is gone.</summary>
    public const string StopCommand = "stop";

    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly TaskCompletionSource<string> _ticket = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<TransferSummary> _summary = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _error;

    private ReceiverProcess(Process process)
    {
        _process = process;
        Ended = FollowAsync();
    }

    /// <summary>Completes when it has ended or has said its last word. Never fails.</summary>
    public Task Ended { get; }

    /// <summary>Why it ended without a summary; null where it didn't.</summary>
    public TransferException? Failure { get; private set; }

    /// <summary>Starts it with the settings of this process.</summary>
    /// <exception cref="TransferException">It can't be started.</exception>
    public static ReceiverProcess Start(IReadOnlyDictionary<string, string?> own, string outputDirectory)
    {
        // The last four may stand in appsettings.json, too, and are this process's alone.
        Dictionary<string, string?> settings = new(own, StringComparer.OrdinalIgnoreCase)
        {
            ["Transfer:Role"] = nameof(TransferRole.Receiver),
            ["Transfer:OutputDirectory"] = outputDirectory,
            ["Transfer:File"] = "",
            ["Transfer:Live"] = "false",
            ["Telemetry:Prometheus"] = "",
        };
        string program = Environment.ProcessPath ?? throw new TransferException("The path of this program is not known, so the receiver can't be started.");
        // Run as `dotnet WorkerService.dll`, the program is dotnet.
        string[] first = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(ReceiverProcess).Assembly.Location] : [];
        string[] arguments = [.. first, Argument, JsonSerializer.Serialize(settings!, WireJson.Default.DictionaryStringString)];
        try
        {
            return new ReceiverProcess(Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false })!);
        }
        catch (Win32Exception e)
        {
            throw new TransferException($"The receiver's process can't be started: {e.Message}", e);
        }
    }

    /// <summary>Where it listens.</summary>
    /// <exception cref="TransferException">It ended first, or took too long.</exception>
    public Task<string> TicketAsync(TimeSpan timeout, CancellationToken cancellationToken) => WaitAsync(_ticket.Task, "start", timeout, cancellationToken);

    /// <summary>Its summary.</summary>
    /// <exception cref="TransferException">It ended first, or took too long.</exception>
    public Task<TransferSummary> SummaryAsync(TimeSpan timeout, CancellationToken cancellationToken) => WaitAsync(_summary.Task, "report", timeout, cancellationToken);

    /// <summary>Lets it stop in good order, and kills it where it doesn't.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _process.StandardInput.WriteLineAsync(StopCommand);
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It is gone.
        }
        try
        {
            await _process.WaitForExitAsync().WaitAsync(StopTime);
        }
        catch (TimeoutException)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }
        await Ended;
        _process.Dispose();
    }

    private static async Task<T> WaitAsync<T>(Task<T> task, string what, TimeSpan timeout, CancellationToken cancellationToken)
    {
        try
        {
            return await task.WaitAsync(timeout, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw new TransferException($"The receiver's process did not {what} within {timeout.TotalSeconds:0.#} s.");
        }
    }

    private async Task FollowAsync()
    {
        try
        {
            while (_error is null && await _process.StandardOutput.ReadLineAsync() is { } text)
            {
                ChildLine? line = JsonSerializer.Deserialize(text, WireJson.Default.ChildLine);
                if (line?.Ticket is { } ticket)
                    _ticket.TrySetResult(ticket);
                else if (line?.Summary is { } summary)
                    _summary.TrySetResult(summary);
                else
                    _error = line?.Error ?? "it said nothing";
            }
            if (_error is null)
                await _process.WaitForExitAsync();
        }
        catch (Exception e) when (e is JsonException or IOException)
        {
            _error = $"its report could not be read ({e.Message})";
        }
        if (_summary.Task.IsCompletedSuccessfully)
            return;
        Failure = new TransferException(
            _error is not null ? $"The receiver failed: {_error}"
            : _process.ExitCode > 128 ? $"The receiver's process was killed by signal {_process.ExitCode - 128}."
            : $"The receiver's process ended with exit code {_process.ExitCode} before the file was through.");
        _ticket.TrySetException(Failure);
        _summary.TrySetException(Failure);
        // What is awaited by none is looked at here.
        _ = _ticket.Task.Exception;
        _ = _summary.Task.Exception;
    }
}

/// <summary>The process that started this one has ended without a word; its reports have no reader any more.</summary>
internal sealed class ParentGoneException() : Exception("The process that started this receiver is gone, so the file can't come.");

/// <summary>Ends a process that was started by another one with that other one. Its standard input is the link.</summary>
internal sealed class ParentLink(Report report, IHostApplicationLifetime lifetime) : BackgroundService
{
    private static readonly TimeSpan WordTime = TimeSpan.FromSeconds(2);

    // A read of the standard input can't be cancelled, only left behind.
    private static readonly Lazy<Task<string?>> Word = new(static () => Task.Run(Console.In.ReadLine));

    /// <summary>Whether the parent is there at the end of this process: it has this one stop, or is at work on what this one has reported.</summary>
    public static async Task<bool> IsThereAsync()
    {
        await Task.WhenAny(Word.Value, Task.Delay(WordTime));
        return !Word.Value.IsCompleted || await Word.Value is not null;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            string? line = await Word.Value.WaitAsync(stoppingToken);
            report.Fail(line == ReceiverProcess.StopCommand ? new OperationCanceledException() : new ParentGoneException());
            lifetime.StopApplication();
        }
        catch (OperationCanceledException)
        {
            // The job has ended first.
        }
    }
}
