using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>Keeps log entries, and allows waiting for an event.</summary>
public sealed class LogRecorder : ILoggerProvider, ILogger
{
    public const int WarmedUp = 1;
    public const int ClosedWithBuffersOut = 2;
    public const int StillOut = 15;
    public const int SameNameInProcess = 101;
    public const int Draining = 19;
    public const int EndpointCloseFailed = 103;
    public const int SectionMissing = 105;
    public const int WarmUpFailed = 106;
    public const int Reloaded = 107;
    public const int RestartNeeded = 108;
    public const int ReloadRejected = 109;
    public const int SectionGone = 110;
    public const int FileBroken = 111;
    public const int FilesNotWatched = 112;
    public const int StartFailed = 113;

    private readonly Lock _gate = new();
    private readonly List<(LogLevel Level, int Id, string Message)> _entries = [];
    private TaskCompletionSource _next = NewSignal();

    public IReadOnlyList<(LogLevel Level, int Id, string Message)> Entries
    {
        get
        {
            lock (_gate)
                return [.. _entries];
        }
    }

    /// <summary>Waits until an event has been logged a number of times.</summary>
    /// <returns>The text of the last of these entries.</returns>
    public async Task<string> Logged(int id, int times = 1)
    {
        while (true)
        {
            Task next;
            lock (_gate)
            {
                string[] messages = MessagesOf(id);
                if (messages.Length >= times)
                    return messages[times - 1];
                next = _next.Task;
            }
            await next.WaitAsync(TestHost.Patience);
        }
    }

    public string[] MessagesOf(int id) => [.. Entries.Where(e => e.Id == id).Select(e => e.Message)];

    public bool Has(int id) => Entries.Any(e => e.Id == id);

    public ILogger CreateLogger(string categoryName) =>
        categoryName.StartsWith("AllocTools", StringComparison.Ordinal) ? this : NullLogger.Instance;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (eventId.Id == 0)
            return;
        TaskCompletionSource signal;
        lock (_gate)
        {
            _entries.Add((logLevel, eventId.Id, formatter(state, exception)));
            signal = _next;
            _next = NewSignal();
        }
        signal.SetResult();
    }

    public bool IsEnabled(LogLevel logLevel) => true;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public void Dispose()
    {
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
