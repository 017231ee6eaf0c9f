using AllocTools.Endpoints;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>What is known of an operation that UCX has.</summary>
internal struct UcxPostedOperation
{
    /// <summary>Which use of the operation's object the rest is of.</summary>
    public long Use;

    public RmaOperationKind Kind;
    public UcxConnection? Connection;
    public bool IsOutstanding;

    /// <summary>Of a write: it brings a number, which is sent once its bytes are there.</summary>
    public bool Notifies;

    /// <summary>The number is being sent.</summary>
    public bool IsNotifying;

    /// <summary>Of a write: UCX has read its source.</summary>
    public bool HasPutEnded;

    /// <summary>Of a write: the flush that covers it has ended.</summary>
    public bool HasFlushEnded;

    /// <summary>Of a write: the first error of the two.</summary>
    public sbyte Error;

    /// <summary>Of a write: UCX has read its source without an error. Any thread may ask.</summary>
    public readonly bool HasPutSucceeded => Volatile.Read(in HasPutEnded) && Error == UcsStatus.UCS_OK;

    /// <summary>The put has ended.</summary>
    public void EndPut(sbyte status)
    {
        Note(status);
        // The thread that has started a flush may read both.
        Volatile.Write(ref HasPutEnded, true);
    }

    public void Note(sbyte status) => Error = Error == UcsStatus.UCS_OK ? status : Error;
}
