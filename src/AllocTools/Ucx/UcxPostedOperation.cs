using AllocTools.Endpoints;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>The UCX state of a posted operation.</summary>
internal struct UcxPostedOperation
{
    /// <summary>The use of the operation's object that the other fields belong to.</summary>
    public long Use;

    public RmaOperationKind Kind;
    public UcxConnection? Connection;
    public bool IsOutstanding;

    /// <summary>For a write: whether it has a notification, which is sent once its bytes have arrived.</summary>
    public bool Notifies;

    /// <summary>Whether the notification is being sent.</summary>
    public bool IsNotifying;

    /// <summary>For a write: whether UCX has read its source.</summary>
    public bool HasPutEnded;

    /// <summary>For a write: whether the flush that covers it has ended.</summary>
    public bool HasFlushEnded;

    /// <summary>For a write: the first error of the put and the flush.</summary>
    public sbyte Error;

    /// <summary>For a write: whether UCX has read its source without an error. Any thread may call this.</summary>
    public readonly bool HasPutSucceeded => Volatile.Read(in HasPutEnded) && Error == UcsStatus.UCS_OK;

    /// <summary>Notes that the put has ended.</summary>
    public void EndPut(sbyte status)
    {
        Note(status);
        // The thread that has started a flush may read both.
        Volatile.Write(ref HasPutEnded, true);
    }

    public void Note(sbyte status) => Error = Error == UcsStatus.UCS_OK ? status : Error;
}
