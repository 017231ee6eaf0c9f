using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AllocTools;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace WorkerService;

/// <summary>The file can't be moved; the message is what the user reads.</summary>
internal sealed class TransferException(string message, Exception? cause = null) : Exception(message, cause);

/// <summary>What becomes of a transfer: to a terminal, a file or a pipe as text, or as lines of JSON to the process that started this one. The first failure counts; what follows from it is not reported.</summary>
internal sealed class Report(bool isChild, IReadOnlyDictionary<string, string?> settings)
{
    /// <summary>The exit code of a switch or an option that can't be used; 0 is success, 1 a failure, 130 that it was stopped, 143 that it was stopped by SIGTERM.</summary>
    public const int Usage = 2;

    private const int Stopped = 130, StoppedBySigTerm = 143;

    private int _exitCode = -1;
    private bool _isTerminated;
    private string? _kept;
    private string? _unheard;

    /// <summary>Another process of the sample has started this one.</summary>
    public bool IsChild => isChild;

    /// <summary>What the process returns. Where nothing has succeeded and nothing has failed, that is a failure.</summary>
    public int ExitCode => _exitCode < 0 ? 1 : _exitCode == Stopped && _isTerminated ? StoppedBySigTerm : _exitCode;

    /// <summary>Something to know that is no failure.</summary>
    public static void Note(string line) => Console.Error.WriteLine(line);

    /// <summary>A receiver can be reached.</summary>
    public void Listening(string ticket, string provider) => Write(
        new ChildLine(Ticket: ticket),
        $"Listening on '{provider}'. On the sending machine: WorkerService --role sender --provider '{provider}' --file PATH --peer TICKET, with this ticket:\n{ticket}\n");

    /// <summary>The file is there.</summary>
    public void Finished(params TransferSummary[] summaries) => Write(new ChildLine(Summary: summaries[0]), TransferSummary.ToText(summaries));

    /// <summary>SIGTERM has come.</summary>
    public void Terminated() => Volatile.Write(ref _isTerminated, true);

    /// <summary>The transfer has ended early, and what has come of the file stays.</summary>
    public void Kept(long bytes, string fileName, string directory) =>
        _kept = string.Create(CultureInfo.InvariantCulture, $"{bytes:N0} bytes of '{fileName}' are kept in '{directory}'; the next transfer of it into there with --resume goes on from them.");

    /// <summary>Says last what is kept. A process that was started by another one leaves that to it, unless it is gone.</summary>
    public async Task EndAsync()
    {
        if (_kept is null || (isChild && await ParentLink.IsThereAsync()))
            return;
        if (_unheard is not null)
            Note($"error: {_unheard}");
        Note(LineOf(_kept));
    }

    /// <summary>The job has ended well.</summary>
    public void Succeed() => Interlocked.CompareExchange(ref _exitCode, 0, -1);

    /// <summary>It failed, or was stopped.</summary>
    public void Fail(Exception exception)
    {
        int exitCode = exception is OperationCanceledException ? Stopped : exception is UsageException or OptionsValidationException ? Usage : 1;
        if (Interlocked.CompareExchange(ref _exitCode, exitCode, -1) != -1)
            return;
        if (isChild && exception is not ParentGoneException)
            Write(new ChildLine(Error: _unheard = LineOf(exception)), "");
        else
            Console.Error.WriteLine($"error: {LineOf(exception)}");
        if (settings.TryGetValue("Logging:LogLevel:Default", out string? level) && level is "Debug" or "Trace")
            Console.Error.WriteLine(exception);
    }

    /// <summary>Shows how far a transfer is until it is disposed; nothing where another process or the pools have the terminal.</summary>
    public Progress StartProgress(string fileName, long length)
    {
        bool isSilent = isChild || (settings.TryGetValue("Transfer:Live", out string? live) && live == "true");
        return new Progress(isSilent ? null : Console.Out, fileName, length, !isSilent && !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi);
    }

    /// <summary>A failure as one line without control characters: a text may come from a peer.</summary>
    public static string LineOf(Exception exception)
    {
        string text = exception switch
        {
            AggregateException { InnerExceptions.Count: 1 } single => LineOf(single.InnerExceptions[0]),
            OptionsValidationException invalid => string.Join(' ', invalid.Failures),
            OperationCanceledException => "stopped before the file was through",
            RmaOperationException or SocketException => $"The peer can't be reached, or is gone: {exception.Message}",
            UsageException or TransferException or ParentGoneException or RmaException or IOException or UnauthorizedAccessException => exception.Message,
            _ => $"{exception.GetType().Name}: {exception.Message}",
        };
        return LineOf(text);
    }

    private static string LineOf(string text) => string.Join(' ', text.Split([.. text.Where(char.IsControl)], StringSplitOptions.RemoveEmptyEntries)).Trim();

    private void Write(ChildLine line, string text) => Console.Out.Write(isChild ? JsonSerializer.Serialize(line, WireJson.Default.ChildLine) + '\n' : text);

    /// <summary>How far a transfer is: a bar on a terminal, else a line for each tenth.</summary>
    public sealed class Progress : IAsyncDisposable
    {
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TextWriter? _output;
        private readonly string _name;
        private readonly long _length;
        private readonly Task _display = Task.CompletedTask;
        private ProgressTask? _bar;
        private long _done;

        public Progress(TextWriter? output, string name, long length, bool isTerminal)
        {
            (_output, _name, _length) = (isTerminal ? null : output, name, length);
            if (isTerminal)
                _display = ShowAsync();
        }

        /// <summary>So many bytes more are there. Called by one thread at a time.</summary>
        public void Advance(long bytes)
        {
            long tenths = (long)(_done / (double)_length * 10);
            _done += bytes;
            _bar?.Increment(bytes);
            if ((long)(_done / (double)_length * 10) is var now && now != tenths)
                _output?.WriteLine($"{_name}: {now * 10} %, {_done:N0} of {_length:N0} bytes");
        }

        public async ValueTask DisposeAsync()
        {
            _end.TrySetResult();
            await _display;
        }

        private Task ShowAsync() => AnsiConsole.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new TransferSpeedColumn())
            .StartAsync(context =>
            {
                _bar = context.AddTask(Markup.Escape(_name), maxValue: Math.Max(_length, 1));
                return _end.Task;
            });
    }
}
