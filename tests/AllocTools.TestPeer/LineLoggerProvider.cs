using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>Writes each log entry as one line to standard output.</summary>
internal sealed class LineLoggerProvider : ILoggerProvider, ILogger
{
    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Console.WriteLine($"log {eventId.Id}: {formatter(state, exception)}");

    public void Dispose()
    {
    }
}
