namespace AllocTools.Connections.Directories;

/// <summary>A directory can't be reached, refuses an entry, or what it gave is not valid. The message says why.</summary>
public sealed class RmaDirectoryException : IOException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">What happened, and what to do.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaDirectoryException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>What it is called in metrics.</summary>
    internal string ErrorType { get; init; } = "unreachable";
}
