namespace AllocTools.Cells;

/// <summary>
/// A cell could not be read: its writer ended in the middle of a write, never rests, or there is no such cell. The message says
/// which; <see cref="RmaException.IsTransient"/> is true where the same read may succeed later.
/// </summary>
public sealed class RmaCellException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">Which cell, what was found in it, and what to do.</param>
    public RmaCellException(string message)
        : base(message)
    {
    }
}
