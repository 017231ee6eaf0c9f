using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>The connection, as seen by the two ends of its rings. Only one of its members is called under their locks.</summary>
internal interface IRingOwner
{
    /// <summary>Posts an operation; false if the endpoint has no place for it now.</summary>
    bool TryStart(in RmaOperation operation, IOperationOwner owner);

    /// <summary>Makes both ends try again once an operation of the endpoint has ended.</summary>
    void RetryLater();

    /// <summary>Continues the application's code.</summary>
    void Schedule(IThreadPoolWorkItem item);

    /// <summary>Called when a write has failed.</summary>
    void OnWriteFailed(Exception error);

    /// <summary>Called when a write was abandoned but may still be executed, before its failure is reported.</summary>
    void OnWriteAbandoned();

    /// <summary>Called last, when a write has ended.</summary>
    void OnOperationEnded();

    /// <summary>Called when an event has occurred that the connection's end may wait for.</summary>
    void CheckEnd();

    /// <summary>Called when the peer's stream has ended, possibly more than once.</summary>
    void OnStreamEnded();

    /// <summary>Called when the application reads no more.</summary>
    void OnReaderCompleted();

    /// <summary>Called under the reader's lock when neither side uses a ring any more.</summary>
    void Retire(RingBlock ring);
}
