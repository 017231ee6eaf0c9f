using AllocTools.Endpoints.Engine;
namespace AllocTools.Libfabric;

/// <summary>
/// The stage of an operation that takes more than one call: a send to a peer that has a <see cref="DeliveryGauge"/>, or
/// a write with a notification.
/// </summary>
internal enum SendStage
{
    /// <summary>The message is posted as far as the peer's window allows.</summary>
    Send = 0,

    /// <summary>The window is used up: the peer is being queried for waiting receives.</summary>
    Ask = 1,

    /// <summary>Receives wait at the peer: the message is sent, whatever the state of the window.</summary>
    Admitted = 2,

    /// <summary>The message was sent, and the peer's gauge is being read; the answer comes after the peer has taken the message.</summary>
    Confirm = 3,

    /// <summary>The bytes of a write have arrived, and its notification is being sent (<see cref="TaggedNotifications"/>).</summary>
    Notify = 4,
}

/// <summary>The state of a peer's receives, as this endpoint knows it.</summary>
/// <remarks>
/// Unreceived messages accumulate inside the peer's libfabric, without limit on tcp;ofi_rxm. Therefore at most a window
/// of them is sent after the peer last reported a waiting receive. Then one send queries the peer periodically, and the
/// others queue behind it; none overtakes it, because its message is posted before the window opens.
/// </remarks>
/// <param name="address">The location of the peer's gauge.</param>
/// <param name="key">The key of the peer's gauge.</param>
/// <param name="window">The number of messages that may be unreceived; 0 for no limit.</param>
internal sealed class PeerFlow(ulong address, ulong key, int window)
{
    /// <summary>The shortest time from an answer without receives to the next query.</summary>
    private const int PauseMilliseconds = 1;

    private const int Nobody = -1;

    private int _unreceived;
    private int _asking = Nobody;
    private long _askAgainAt;

    /// <summary>The location of the peer's gauge, and its key.</summary>
    public (ulong Address, ulong Key) Gauge => (address, key);

    public ulong Address => address;

    public ulong Key => key;

    public int Window => window;

    /// <summary>Whether no more messages may be sent before a receive waits at the peer.</summary>
    public bool IsFull => window != 0 && Volatile.Read(ref _unreceived) >= window;

    /// <summary>Counts a message that is about to be posted. Returns false if the window is used up.</summary>
    public bool TryAdmit()
    {
        if (window == 0)
            return true;
        if (Interlocked.Increment(ref _unreceived) <= window)
            return true;
        Interlocked.Decrement(ref _unreceived);
        return false;
    }

    /// <summary>Reverses the count of a message that was not posted.</summary>
    public void Unadmit()
    {
        if (window != 0)
            Interlocked.Decrement(ref _unreceived);
    }

    /// <summary>Begins a query for a send, given its index. Returns false if another send queries, or if it is too early.</summary>
    public bool TryBeginAsking(int index) =>
        Environment.TickCount64 >= Volatile.Read(ref _askAgainAt) && Interlocked.CompareExchange(ref _asking, index, Nobody) == Nobody;

    /// <summary>Called when the query has ended, or was not accepted. It does nothing if another send queries.</summary>
    public void EndAsking(int index) => Interlocked.CompareExchange(ref _asking, Nobody, index);

    /// <summary>Called with the peer's answer: the number of waiting receives.</summary>
    public void OnAnswer(long waiting)
    {
        if (waiting > 0)
            Volatile.Write(ref _unreceived, 0);
        else
            Volatile.Write(ref _askAgainAt, Environment.TickCount64 + PauseMilliseconds);
    }
}
