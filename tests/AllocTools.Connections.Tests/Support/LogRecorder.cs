using System.Collections.Concurrent;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.Tests.Support;

/// <summary>Keeps the log entries.</summary>
internal sealed class LogRecorder : ILoggerProvider, ILogger
{
    public LogRecorder() => Factory = new LoggerFactory([this]);

    public LoggerFactory Factory { get; }

    public ConcurrentQueue<(int Id, string Text)> All { get; } = new();

    /// <summary>Waits for the only message with an id.</summary>
    public async Task<string> SingleAsync(int id)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (!limit.IsCancellationRequested && !All.Any(l => l.Id == id))
            await Task.Delay(5, CancellationToken.None);
        return Assert.Single(All, l => l.Id == id).Text;
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        All.Enqueue((eventId.Id, formatter(state, exception)));

    public void Dispose()
    {
    }
}
