namespace AllocTools.Cells;

/// <summary>
/// A cell could not be read: its writer ended in the middle of a write or writes too often, or there is no such cell.
/// The message gives the reason; <see cref="RmaException.IsTransient"/> is true if the same read may succeed later.
/// </summary>
public sealed class RmaCellException : RmaException
{
    /// <summary>Creates an error.</summary>
    /// <param name="message">The message: the cell, its contents, and what to do.</param>
    public RmaCellException(string message)
        : base(message)
    {
    }
}
