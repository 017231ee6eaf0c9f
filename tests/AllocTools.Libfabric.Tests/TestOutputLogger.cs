using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Writes each log entry to the output of the test that it was made in, which is shown where the test failed.</summary>
internal sealed class TestOutputLogger : ILoggerProvider, ILogger
{
    private volatile ITestOutputHelper? _output = TestContext.Current.TestOutputHelper;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _output?.WriteLine($"{DateTime.UtcNow:HH:mm:ss.fff} {eventId.Id} {eventId.Name}: {formatter(state, exception)}");

    /// <summary>The test is about to end, and takes no output after it.</summary>
    public void Dispose() => _output = null;
}
