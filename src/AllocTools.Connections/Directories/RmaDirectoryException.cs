namespace AllocTools.Connections.Directories;

/// <summary>A directory can't be reached, refuses an entry, or has returned invalid data. The message gives the reason.</summary>
public sealed class RmaDirectoryException : IOException
{
    /// <summary>Creates an exception.</summary>
    /// <param name="message">The message: what happened, and what to do.</param>
    /// <param name="innerException">The exception that caused this one; null if there is none.</param>
    public RmaDirectoryException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>The name of the error in metrics.</summary>
    internal string ErrorType { get; init; } = "unreachable";
}
