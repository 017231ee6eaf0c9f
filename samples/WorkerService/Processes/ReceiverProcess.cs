using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;
using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Processes;

/// <summary>A receiver that this process started. It ends with this object, and with this process however that ends.</summary>
internal sealed class ReceiverProcess : IAsyncDisposable
{
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly TaskCompletionSource<PeerTicket> _ticket = new(TaskCreationOptions.RunContinuationsAsynchronously);
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
    public static ReceiverProcess Start(CommandLine commandLine, string outputDirectory)
    {
        Dictionary<string, string?> settings = new(commandLine.Settings, StringComparer.OrdinalIgnoreCase)
        {
            [$"Transfer:{nameof(TransferOptions.Role)}"] = nameof(TransferRole.Receiver),
            [$"Transfer:{nameof(TransferOptions.OutputDirectory)}"] = outputDirectory,
            [$"Transfer:{nameof(TransferOptions.StartedByParent)}"] = bool.TrueString,
            // What may stand in appsettings.json, too, and is this process's alone.
            [$"Transfer:{nameof(TransferOptions.File)}"] = "",
            [$"Transfer:{nameof(TransferOptions.Live)}"] = bool.FalseString,
            ["Telemetry:Prometheus"] = "",
        };
        string program = Environment.ProcessPath ?? throw new TransferException("The path of this program is not known, so the receiver can't be started.");
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        // Run as `dotnet WorkerService.dll`, the program is dotnet.
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
            start.ArgumentList.Add(typeof(ReceiverProcess).Assembly.Location);
        foreach ((string key, string? value) in settings)
            start.ArgumentList.Add($"--{key}={value}");
        try
        {
            return new ReceiverProcess(Process.Start(start)!);
        }
        catch (Win32Exception e)
        {
            throw new TransferException($"The receiver's process can't be started: {e.Message}", e);
        }
    }

    /// <summary>Where it listens.</summary>
    /// <exception cref="TransferException">It ended first, or took too long.</exception>
    public Task<PeerTicket> TicketAsync(TimeSpan timeout, CancellationToken cancellationToken) =>
        WaitAsync(_ticket.Task, "start", timeout, cancellationToken);

    /// <summary>Its summary.</summary>
    /// <exception cref="TransferException">It ended first, or took too long.</exception>
    public Task<TransferSummary> SummaryAsync(TimeSpan timeout, CancellationToken cancellationToken) =>
        WaitAsync(_summary.Task, "report", timeout, cancellationToken);

    /// <summary>Lets it stop in good order, and kills it where it doesn't.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _process.StandardInput.WriteLineAsync(ChildLine.StopCommand);
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It is gone.
        }
        using (var patience = new CancellationTokenSource(StopTime))
        {
            try
            {
                await _process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill(entireProcessTree: true);
                await _process.WaitForExitAsync(CancellationToken.None);
            }
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
            while (_error is null && await _process.StandardOutput.ReadLineAsync() is { } line)
                Take(JsonSerializer.Deserialize<ChildLine>(line));
            if (_error is null)
                await _process.WaitForExitAsync();
        }
        catch (Exception e) when (e is JsonException or FormatException or IOException)
        {
            _error = $"its report could not be read ({e.Message})";
        }
        if (_summary.Task.IsCompletedSuccessfully)
            return;
        Failure = new TransferException(_error is not null ? $"The receiver failed: {_error}" : $"The receiver's process {DescribeExit(_process.ExitCode)}.");
        _ticket.TrySetException(Failure);
        _summary.TrySetException(Failure);
        // Nobody may be waiting for either.
        _ = _ticket.Task.Exception;
        _ = _summary.Task.Exception;
    }

    private void Take(ChildLine? line)
    {
        if (line?.Ticket is { } ticket)
            _ticket.TrySetResult(PeerTicket.Parse(ticket));
        else if (line?.Summary is { } summary)
            _summary.TrySetResult(summary);
        else
            _error = ErrorLine.Clean(line?.Error ?? "it said nothing");
    }

    private static string DescribeExit(int exitCode) =>
        exitCode > 128 ? $"was killed by signal {exitCode - 128}" : $"ended with exit code {exitCode} before the file was through";
}
