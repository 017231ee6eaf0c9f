namespace AllocTools.AotSmoke;

/// <summary>What a check found.</summary>
internal sealed class CheckFailedException(string message) : Exception(message);
