namespace WorkerService.Application;

/// <summary>The sample was called with something it can't use. The message says what, and what it can.</summary>
internal sealed class UsageException(string message) : Exception(message);
