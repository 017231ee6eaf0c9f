namespace AllocTools.AotSmoke;

/// <summary>Reports a check that has failed.</summary>
internal sealed class CheckFailedException(string message) : Exception(message);
