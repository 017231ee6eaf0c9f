namespace AllocTools;

/// <summary>A provider could not be opened: library or device missing, no such fabric, an option it can't honour.</summary>
public sealed class RmaProviderException : RmaException
{
    /// <inheritdoc cref="RmaException(string, int, string, Exception?)"/>
    public RmaProviderException(string message, int errorCode = 0, string errorName = "", Exception? innerException = null)
        : base(message, errorCode, errorName, innerException)
    {
    }
}
