namespace AllocTools.Endpoints;

/// <summary>An operation of a batch failed; why is in <see cref="Exception.InnerException"/>.</summary>
public sealed class RmaBatchException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">Which operation failed, why, and what became of the others.</param>
    /// <param name="index">The operation.</param>
    /// <param name="completed">How many operations have completed.</param>
    /// <param name="innerException">The operation's own error.</param>
    public RmaBatchException(string message, int index, int completed, Exception innerException)
        : base(message, (innerException as RmaException)?.ErrorCode ?? 0, (innerException as RmaException)?.ErrorName ?? "", innerException)
    {
        Index = index;
        Completed = completed;
        IsTransient = innerException is RmaException { IsTransient: true };
    }

    /// <summary>
    /// The operation that failed, counted from 0 in the order in which they were added; of several the first of that order. All
    /// before it have completed; of those after it some may have, too.
    /// </summary>
    public int Index { get; }

    /// <summary>How many operations of the batch have completed.</summary>
    public int Completed { get; }
}
