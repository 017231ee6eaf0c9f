using System.Diagnostics;

namespace WorkerService;

/// <summary>A receiver process that this process has started, and the directory to which it writes.</summary>
/// <remarks>
/// The process ends with this object, and also when this process ends for any reason, because its standard
/// input is then closed.
/// </remarks>
internal sealed class ReceiverProcess : IAsyncDisposable
{
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    private readonly OutputFolder _folder;
    private readonly FileState _file;
    private readonly Report _report;
    private readonly Process _process;
    private readonly long _keptBefore;
    private bool _isKilled;

    public ReceiverProcess(string[] arguments, TransferOptions options, FileState file, Report report)
    {
        (_folder, _file, _report) = (new OutputFolder(options.OutputDirectory), file, report);
        _keptBefore = _folder.KeptBytes(file);
        // If this process was run as `dotnet WorkerService.dll`, the program is dotnet. Settings that may also be in
        // appsettings.json, but must only apply to this process, are overridden by the last arguments.
        string program = Environment.ProcessPath!;
        string[] first = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [Environment.GetCommandLineArgs()[0]] : [];
        string[] last = ["--Transfer:Role=Child", $"--Transfer:OutputDirectory={_folder.FullPath}", "--Transfer:File=", "--Transfer:Live=false", "--Telemetry:Prometheus="];
        _process = Process.Start(new ProcessStartInfo(program, [.. first, .. arguments, .. last]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    }

    /// <summary>Returns the ticket of the receiver.</summary>
    public async Task<string> GetTicketAsync(double seconds, CancellationToken cancellationToken)
    {
        Task<string?> saying = _process.StandardOutput.ReadLineAsync(cancellationToken).AsTask();
        string? line = await saying.InTimeAsync(seconds, $"The receiver's process did not start within {seconds} s.", cancellationToken);
        bool isTicket = line?.StartsWith(FileTransfer.Scheme + ':', StringComparison.Ordinal) == true;
        return isTicket ? line! : throw new TransferException($"The receiver failed: {line ?? "it printed nothing"}");
    }

    /// <summary>
    /// Finds the cause of a failure on this side. The receiver may have been killed, or both may have been stopped:
    /// Ctrl+C reaches both.
    /// </summary>
    public async Task<Exception> FindCauseAsync(Exception failure, CancellationToken cancellationToken)
    {
        await StopAsync();
        return cancellationToken.IsCancellationRequested ? new OperationCanceledException(cancellationToken)
            : _process.ExitCode < 128 || _isKilled ? failure
            : new TransferException($"The receiver's process was killed by signal {_process.ExitCode - 128}.");
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _report.NoteKept(_folder, _file, _keptBefore);
        _folder.Dispose();
    }

    /// <summary>Lets the process stop in order, and kills it if it doesn't.</summary>
    private async Task StopAsync()
    {
        try
        {
            _process.StandardInput.WriteLine("stop");
            _process.StandardInput.Close();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The process has exited, or was already asked to stop.
        }
        await _process.WaitForExitAsync().WaitAsync(StopTime).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_process.HasExited)
            return;
        _isKilled = true;
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
    }
}
