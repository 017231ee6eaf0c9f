namespace AllocTools;

/// <summary>
/// A provider could not be opened: the library or device is missing, there is no such fabric, or an option can't be
/// honoured.
/// </summary>
public sealed class RmaProviderException : RmaException
{
    /// <inheritdoc cref="RmaException(string, int, string, Exception?)"/>
    public RmaProviderException(string message, int errorCode = 0, string errorName = "", Exception? innerException = null)
        : base(message, errorCode, errorName, innerException)
    {
    }
}
