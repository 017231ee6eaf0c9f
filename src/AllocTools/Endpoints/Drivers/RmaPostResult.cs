using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>The result of posting an operation.</summary>
[Experimental(ExperimentalId.Providers)]
public readonly record struct RmaPostResult
{
    private RmaPostResult(RmaPostStatus status, int error, long length)
    {
        Status = status;
        Error = error;
        Length = length;
    }

    /// <summary>The transport has accepted the operation; its completion will be reported.</summary>
    public static RmaPostResult Posted => default;

    /// <summary>The transport accepts nothing now; the endpoint tries again, in the order of the calls.</summary>
    public static RmaPostResult Full => new(RmaPostStatus.Full, 0, 0);

    /// <summary>The status.</summary>
    public RmaPostStatus Status { get; }

    /// <summary>The transport's code, for <see cref="RmaPostStatus.Refused"/>.</summary>
    public int Error { get; }

    /// <summary>The number of bytes that were moved, for <see cref="RmaPostStatus.Done"/>.</summary>
    public long Length { get; }

    /// <summary>
    /// The operation has already completed; no completion will be reported. Not allowed for a receive, whose completion
    /// includes the sender.
    /// </summary>
    /// <param name="length">The number of bytes that were moved.</param>
    public static RmaPostResult Done(long length) => new(RmaPostStatus.Done, 0, length);

    /// <summary>The transport refused the operation.</summary>
    /// <param name="error">The transport's code, positive.</param>
    public static RmaPostResult Refused(int error) => new(RmaPostStatus.Refused, error, 0);
}

/// <summary>The status of a posted operation.</summary>
[Experimental(ExperimentalId.Providers)]
public enum RmaPostStatus
{
    /// <summary>The transport has accepted the operation.</summary>
    Posted = 0,

    /// <summary>The transport accepts nothing now.</summary>
    Full = 1,

    /// <summary>The operation has completed.</summary>
    Done = 2,

    /// <summary>The transport refused the operation.</summary>
    Refused = 3,
}

/// <summary>The result of reading completions.</summary>
[Experimental(ExperimentalId.Providers)]
public enum RmaReadResult
{
    /// <summary>There were no completions.</summary>
    Nothing = 0,

    /// <summary>There were completions.</summary>
    Something = 1,
}

/// <summary>Whether an endpoint's thread may wait for the wait descriptor.</summary>
[Experimental(ExperimentalId.Providers)]
public enum RmaWaitState
{
    /// <summary>The thread may wait.</summary>
    Ready = 0,

    /// <summary>There may already be completions: read them first.</summary>
    ReadFirst = 1,

    /// <summary>The descriptor can no longer be waited for.</summary>
    Broken = 2,
}
