using Microsoft.Extensions.Logging;

namespace AllocTools.Testing;

/// <summary>Adds each log entry to the notes of the test in which the logger was created.</summary>
internal sealed class TestOutputLogger : ILoggerProvider, ILogger
{
    private readonly Action<string> _note = FailureNotesAttribute.ForCurrentTest;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _note($"{DateTime.UtcNow:HH:mm:ss.fff} {eventId.Id} {eventId.Name}: {formatter(state, exception)}");

    public void Dispose()
    {
    }
}
