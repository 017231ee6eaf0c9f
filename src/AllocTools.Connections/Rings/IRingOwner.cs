using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>The connection, as the two ends of its rings see it. None of it but one is called under their locks.</summary>
internal interface IRingOwner
{
    /// <summary>Posts an operation; false where the endpoint has no place for it now.</summary>
    bool TryStart(in RmaOperation operation, IOperationOwner owner);

    /// <summary>Has both ends try again once an operation of the endpoint has ended.</summary>
    void RetryLater();

    /// <summary>Has the application's code go on.</summary>
    void Schedule(IThreadPoolWorkItem item);

    /// <summary>A write has failed.</summary>
    void OnWriteFailed(Exception error);

    /// <summary>A write was given up, and may still come to pass. Before its failure is said.</summary>
    void OnWriteAbandoned();

    /// <summary>A write has ended, as the last thing that is said of it.</summary>
    void OnOperationEnded();

    /// <summary>Something that the connection's end may wait for has come about.</summary>
    void CheckEnd();

    /// <summary>The peer's stream has ended. May be called again.</summary>
    void OnStreamEnded();

    /// <summary>The application reads no more.</summary>
    void OnReaderCompleted();

    /// <summary>A ring is used no more, by either side. Called under the reader's lock.</summary>
    void Retire(RingBlock ring);
}
