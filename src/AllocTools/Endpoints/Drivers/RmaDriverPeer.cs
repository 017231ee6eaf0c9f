using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Engine;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>A peer, as a driver sees it. Drivers derive their own classes from this one.</summary>
/// <param name="address">The peer's address, without the trailer.</param>
[Experimental(ExperimentalId.Providers)]
public class RmaDriverPeer(ReadOnlyMemory<byte> address)
{
    private PeerLoss? _loss;
    private int _queued;
    private int _insertions = 1;
    private int _finished;
    private volatile bool _isRemoved;
    private volatile bool _isSlow;

    /// <summary>The peer's address, without the trailer.</summary>
    public ReadOnlyMemory<byte> Address => address;

    /// <summary>The peer's number, from <see cref="RmaEndpointDriver.InsertPeer"/>.</summary>
    public ulong Number { get; internal set; }

    /// <summary>Whether the peer can no longer be reached.</summary>
    public bool IsLost => Volatile.Read(ref _loss) is not null;

    /// <summary>Whether the peer was removed: no more operations with it are started, but some may still be running.</summary>
    public bool IsRemoved => _isRemoved;

    /// <summary>Called when the peer is inserted again; the contents of its address may have changed.</summary>
    /// <param name="latest">The peer that <see cref="RmaEndpointDriver.OpenPeer(ReadOnlySpan{byte})"/> created from the
    /// address; it is closed after this call.</param>
    protected internal virtual void OnInsertedAgain(RmaDriverPeer latest)
    {
    }

    /// <summary>
    /// Releases the peer's resources once no operation uses it any more: after it was removed, or after the driver of a
    /// closed endpoint was closed. Must not throw.
    /// </summary>
    protected internal virtual void Close()
    {
    }

    /// <summary>The generation of the peer's number, which other peers may have had before.</summary>
    internal long Generation { get; set; }

    /// <summary>The number of insertions without a removal. Written under the table's lock.</summary>
    internal int Insertions
    {
        get => Volatile.Read(ref _insertions);
        set => Volatile.Write(ref _insertions, value);
    }

    /// <summary>Whether all callers that inserted the peer have declared that they start no more operations with it.</summary>
    internal bool IsFinished => Volatile.Read(ref _finished) >= Insertions;

    /// <summary>The transport that the peer's address described at the last insertion; null if the address did not describe it.</summary>
    internal TransportDescription? Transport { get; set; }

    /// <summary>Why the peer is lost; null if it is not.</summary>
    internal PeerLoss? Loss => Volatile.Read(ref _loss);

    /// <summary>Whether one of the peer's operations is overdue. Written under the lock of the peers' states.</summary>
    internal bool IsSlow
    {
        get => _isSlow;
        set => _isSlow = value;
    }

    internal RmaPeerState State => IsLost ? RmaPeerState.Lost : IsSlow ? RmaPeerState.Slow : RmaPeerState.Up;

    /// <returns>False if the peer was already lost.</returns>
    internal bool TryLose(PeerLoss loss) => Interlocked.CompareExchange(ref _loss, loss, null) is null;

    /// <summary>The number of the peer's operations that wait to be posted. Written under the retry queue's lock.</summary>
    internal int Queued
    {
        get => Volatile.Read(ref _queued);
        set => Volatile.Write(ref _queued, value);
    }

    /// <summary>Declares that one of the callers that inserted the peer starts no more operations with it. Any thread may call this, under any lock.</summary>
    internal void Finish() => Interlocked.Increment(ref _finished);

    /// <summary>Called when a caller of <see cref="Finish"/> removes the peer.</summary>
    internal void ForgetFinished() => Interlocked.Decrement(ref _finished);

    internal void Remove() => _isRemoved = true;
}
