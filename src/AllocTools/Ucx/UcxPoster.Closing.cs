using AllocTools.Endpoints;

namespace AllocTools.Ucx;

/// <content>Operations that end while the endpoint is being closed, when nothing is reported any more.</content>
internal sealed unsafe partial class UcxPoster
{
    /// <summary>Called when an operation's request has ended while the endpoint is being closed.</summary>
    public void Forget(UcxRequest* request)
    {
        ref UcxPostedOperation posted = ref _posted[request->Index];
        bool isPut = posted.Kind == RmaOperationKind.Write && !posted.IsNotifying;
        posted.HasPutEnded |= isPut;
        posted.IsOutstanding = isPut && !posted.HasFlushEnded;
    }

    /// <summary>Called when a flush has ended while the endpoint is being closed.</summary>
    public void ForgetFlush(UcxFlush flush)
    {
        flush.Connection.EndFlush();
        foreach (int index in flush.Writes)
        {
            ref UcxPostedOperation posted = ref _posted[index];
            posted.HasFlushEnded = true;
            posted.IsOutstanding = !posted.HasPutEnded;
        }
        _flushes.GiveBack(flush);
    }
}
