using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>Keeps what was logged, and tells when an event is.</summary>
public sealed class LogRecorder : ILoggerProvider, ILogger
{
    public const int ClosedWithBuffersOut = 2;
    public const int SameNameInProcess = 101;
    public const int Draining = 102;
    public const int EndpointCloseFailed = 103;

    private readonly ConcurrentQueue<(LogLevel Level, int Id, string Message)> _entries = new();
    private readonly ConcurrentDictionary<int, TaskCompletionSource> _signals = new();

    public IReadOnlyList<(LogLevel Level, int Id, string Message)> Entries => [.. _entries.Where(e => e.Id != 0)];

    public Task Logged(int id) => SignalOf(id).Task.WaitAsync(TestHost.Patience);

    public bool Has(int id) => Entries.Any(e => e.Id == id);

    public ILogger CreateLogger(string categoryName) =>
        categoryName.StartsWith("AllocTools", StringComparison.Ordinal) ? this : Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        _entries.Enqueue((logLevel, eventId.Id, formatter(state, exception)));
        SignalOf(eventId.Id).TrySetResult();
    }

    public bool IsEnabled(LogLevel logLevel) => true;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public void Dispose()
    {
    }

    private TaskCompletionSource SignalOf(int id) =>
        _signals.GetOrAdd(id, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
}
