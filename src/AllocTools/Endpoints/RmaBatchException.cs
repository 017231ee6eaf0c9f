namespace AllocTools.Endpoints;

/// <summary>Thrown when an operation of a batch has failed; <see cref="Exception.InnerException"/> is the cause.</summary>
public sealed class RmaBatchException : RmaException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">The message: which operation failed, why, and the state of the others.</param>
    /// <param name="index">The index of the operation that failed.</param>
    /// <param name="completed">The number of operations that have completed.</param>
    /// <param name="innerException">The operation's own error.</param>
    public RmaBatchException(string message, int index, int completed, Exception innerException)
        : base(message, (innerException as RmaException)?.ErrorCode ?? 0, (innerException as RmaException)?.ErrorName ?? "", innerException)
    {
        Index = index;
        Completed = completed;
        IsTransient = innerException is RmaException { IsTransient: true };
    }

    /// <summary>
    /// The index of the operation that failed, counted from 0 in the order in which they were added. If several failed, it
    /// is the first in that order. All operations before it have completed; some of those after it may have completed, too.
    /// </summary>
    public int Index { get; }

    /// <summary>The number of operations of the batch that have completed.</summary>
    public int Completed { get; }
}
