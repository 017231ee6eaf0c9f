using System.Net.Sockets;
using System.Text.Json;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Options;

namespace WorkerService;

/// <summary>The file can't be transferred; the message is shown to the user.</summary>
internal sealed class TransferException(string message, Exception? cause = null) : Exception(message, cause);

internal static class Waiting
{
    /// <summary>Waits for a task, and fails with a message if it takes too long.</summary>
    public static async Task<T> InTimeAsync<T>(this Task<T> task, double seconds, string otherwise, CancellationToken cancellationToken)
    {
        try
        {
            return await task.WaitAsync(TimeSpan.FromSeconds(seconds), cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new TransferException(otherwise, e);
        }
    }
}

/// <summary>
/// The output of a process of the sample, and its exit code. A process that was started by another one prints its
/// ticket for it, or the reason why there is none.
/// </summary>
internal sealed class Report
{
    private readonly bool _hasBar = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");
    private bool _isSilent, _isVerbose;
    private long _percent;
    private string? _kept;

    /// <summary>
    /// If another process has started this one: its message on the standard input. A line asks this process to stop;
    /// null means that the other process has exited.
    /// </summary>
    public Task<string?>? ParentsWord { get; private set; }

    /// <summary>Whether SIGTERM was received.</summary>
    public bool IsTerminated { get; set; }

    public void Configure(TransferOptions options, bool isVerbose)
    {
        (_isSilent, _isVerbose) = (options.Live || options.Role == TransferRole.Child, isVerbose);
        if (options.Role == TransferRole.Child)
            ParentsWord = Task.Run(Console.In.ReadLine);
    }

    /// <summary>Prints that a receiver can be reached.</summary>
    public Task ListeningAsync(string ticket, string provider) => Console.Out.WriteLineAsync(ParentsWord is not null
        ? ticket
        : $"Listening on '{provider}'. On the sending machine: WorkerService --role sender --provider '{provider}' --file PATH --peer TICKET, with this ticket:\n{ticket}\n");

    /// <summary>Called when the transfer has ended early: notes if more of the file is kept than before.</summary>
    public void NoteKept(OutputFolder folder, FileState file, long before)
    {
        long kept = folder.KeptBytes(file);
        if (kept <= before)
            return;
        const string Rest = "the next transfer into that directory with --resume continues from there.";
        _kept = string.Create(InvariantCulture, $"{kept:N0} bytes of '{file.Name}' are kept in '{folder.FullPath}'; {Rest}");
    }

    /// <summary>Reports that the transfer failed, or was stopped.</summary>
    /// <returns>The exit code: 1 after a failure, 2 for an invalid switch or option, 130 if it was stopped, 143 if it
    /// was stopped by SIGTERM.</returns>
    public async Task<int> FailAsync(Exception exception)
    {
        if (ParentsWord is not null)
            Console.WriteLine(LineOf(exception));
        if (ParentsWord is null || await ParentsWord is null)
            Console.Error.WriteLine($"{(_hasBar && _percent is > 0 and < 100 ? "\n" : "")}error: {LineOf(exception)}{(_kept is null ? "" : $"\n{_kept}")}");
        if (_isVerbose)
            Console.Error.WriteLine(exception);
        if (exception is OperationCanceledException and not ConnectionAbortedException && ParentsWord is null)
            return IsTerminated ? 143 : 130;
        return exception is UsageException or OptionsValidationException or InvalidDataException ? 2 : 1;
    }

    /// <summary>Formats a failure as one line without control characters, because a text may come from a peer.</summary>
    public static string LineOf(Exception exception)
    {
        string text = exception switch
        {
            InvalidDataException unreadable => $"{unreadable.Message} {unreadable.InnerException?.Message}",
            OptionsValidationException invalid => string.Join(' ', invalid.Failures),
            ConnectionResetException or ConnectionAbortedException or RmaOperationException or SocketException => $"The peer can't be reached, or is gone: {exception.Message}",
            OperationCanceledException => "stopped before the whole file was transferred",
            JsonException => "The peer sent a message that can't be read.",
            UsageException or TransferException or RmaException or IOException or UnauthorizedAccessException => exception.Message,
            _ => $"{exception.GetType().Name}: {exception.Message}",
        };
        return OneLine(text);
    }

    public static string OneLine(string text) => string.Join(' ', text.Split([.. text.Where(char.IsControl)], StringSplitOptions.RemoveEmptyEntries)).Trim();

    /// <summary>
    /// Shows the progress of a transfer: a bar on a terminal, otherwise a line for each tenth. It shows nothing if
    /// another process or the view of the pool uses the terminal.
    /// </summary>
    public void Show(FileState file, long done)
    {
        long percent = done * 100 / Math.Max(file.Length, 1), step = _hasBar ? 1 : 10;
        // Both sides may be in this process.
        if (_isSilent || percent / step <= Volatile.Read(ref _percent) / step)
            return;
        _percent = percent;
        Console.Write(_hasBar
            ? $"\r{new string('━', (int)percent / 2)}{new string('·', 50 - ((int)percent / 2))} {percent,3} % of {file.Name}{(percent == 100 ? "\n" : "")}"
            : string.Create(InvariantCulture, $"{file.Name}: {percent / step * step} %, {done:N0} of {file.Length:N0} bytes\n"));
    }
}
