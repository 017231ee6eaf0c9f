using AllocTools.Endpoints.Engine;
namespace AllocTools.Libfabric;

/// <summary>How an operation goes on that takes more than one call: a send to a peer that has a <see cref="DeliveryGauge"/>, or a write with a number.</summary>
internal enum SendStage
{
    /// <summary>The message is posted as far as the peer's window allows.</summary>
    Send = 0,

    /// <summary>The window is used up: the peer is being asked whether receives wait.</summary>
    Ask = 1,

    /// <summary>Receives wait at the peer: the message goes, whatever the window says.</summary>
    Admitted = 2,

    /// <summary>The message was sent, and the peer is being read, which it answers after it has taken the message.</summary>
    Confirm = 3,

    /// <summary>The bytes of a write are there, and its number is being sent (<see cref="TaggedNotifications"/>).</summary>
    Notify = 4,
}

/// <summary>What this endpoint knows of how a peer takes its messages.</summary>
/// <remarks>
/// Messages that nobody receives pile up inside the peer's libfabric, without limit on tcp;ofi_rxm. So at most a window of
/// them is sent after the peer last showed a receive that waits. Then one send asks, in pauses, and the others queue
/// behind it; none overtakes it, because its message is posted before the window opens.
/// </remarks>
/// <param name="address">Where the peer's gauge is.</param>
/// <param name="key">Its key.</param>
/// <param name="window">How many messages may go unreceived; 0 for no limit.</param>
internal sealed class PeerFlow(ulong address, ulong key, int window)
{
    /// <summary>The least time from an answer without receives to the next question.</summary>
    private const int PauseMilliseconds = 1;

    private const int Nobody = -1;

    private int _unreceived;
    private int _asking = Nobody;
    private long _askAgainAt;

    /// <summary>Where the peer's gauge is, and its key.</summary>
    public (ulong Address, ulong Key) Gauge => (address, key);

    public ulong Address => address;

    public ulong Key => key;

    public int Window => window;

    /// <summary>No more messages may go before a receive waits at the peer.</summary>
    public bool IsFull => window != 0 && Volatile.Read(ref _unreceived) >= window;

    /// <summary>Counts a message that is about to be posted. False: the window is used up.</summary>
    public bool TryAdmit()
    {
        if (window == 0)
            return true;
        if (Interlocked.Increment(ref _unreceived) <= window)
            return true;
        Interlocked.Decrement(ref _unreceived);
        return false;
    }

    /// <summary>A message that was counted was not posted.</summary>
    public void Unadmit()
    {
        if (window != 0)
            Interlocked.Decrement(ref _unreceived);
    }

    /// <summary>Begins to ask for a send, by its index. False: another one does, or it is too early.</summary>
    public bool TryBeginAsking(int index) =>
        Environment.TickCount64 >= Volatile.Read(ref _askAgainAt) && Interlocked.CompareExchange(ref _asking, index, Nobody) == Nobody;

    /// <summary>The question has ended, or was not taken. Nothing where another send asks.</summary>
    public void EndAsking(int index) => Interlocked.CompareExchange(ref _asking, Nobody, index);

    /// <summary>The peer has answered how many receives wait.</summary>
    public void OnAnswer(long waiting)
    {
        if (waiting > 0)
            Volatile.Write(ref _unreceived, 0);
        else
            Volatile.Write(ref _askAgainAt, Environment.TickCount64 + PauseMilliseconds);
    }
}
