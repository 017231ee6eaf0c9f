using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Engine;
using AllocTools.Interop;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>
/// The transport of an endpoint: it posts operations, reads their completions, and manages peers.
/// <see cref="RmaEndpoint"/> does everything else: time-outs, cancellation, order, waiting for room, awaiting,
/// quarantine, statistics and spans. docs/providers.md shows a complete driver on one page.
/// </summary>
/// <remarks>
/// <para>
/// Any thread calls <see cref="Post"/>, even while completions are read, unless <see cref="PostsBesideProgress"/> is
/// false. <see cref="ReadCompletions"/> and <see cref="Cancel"/> are called by one thread at a time, which holds the
/// progress turn. Peers are inserted and removed by one thread at a time, but may be opened by several at once. All
/// other members document their callers.
/// </para>
/// <para>
/// A posted operation belongs to the transport until its completion is reported. Once <see cref="Post"/> has passed it
/// to the transport, it may complete and its object may be reused before the call returns, so don't read it after that.
/// </para>
/// <para>Members throw <see cref="RmaException"/> if the transport fails; the endpoint then ends all outstanding operations.</para>
/// </remarks>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaEndpointDriver
{
    private RmaEndpoint? _endpoint;

    /// <summary>The transport's own address, without the trailer that <see cref="RmaEndpoint.Address"/> adds.</summary>
    public abstract ReadOnlyMemory<byte> Address { get; }

    /// <summary>The longest message that can be sent or received, in bytes. Reads and writes are split by <see cref="Regions.RmaProviderTraits.MaxMessageSize"/> instead.</summary>
    public virtual long MaxMessageLength => long.MaxValue;

    /// <summary>
    /// Whether <see cref="Post"/> may be called while another thread reads completions. If false, the thread that holds
    /// the turn posts for all others.
    /// </summary>
    public virtual bool PostsBesideProgress => true;

    /// <summary>
    /// Whether a call into the transport may never return because a thread was killed in another process (by a lock in
    /// shared memory). If so, only the endpoint's own thread, which is monitored, makes such calls.
    /// </summary>
    public virtual bool MayHangOnDeadPeers => false;

    /// <summary>The descriptor that is readable while there may be completions; -1 if there is none.</summary>
    public virtual int WaitDescriptor => -1;

    /// <summary>
    /// Whether the driver calls <see cref="Wake"/> whenever there are completions to read, so that polling is not needed.
    /// </summary>
    public virtual bool WakesForCompletions => false;

    /// <summary>Whether <see cref="LookAfterPeers"/> must be called periodically.</summary>
    public virtual bool WatchesPeers => false;

    /// <summary>Whether closing does not drop outstanding operations, so that all must be cancelled first.</summary>
    public virtual bool MustRecallBeforeClosing => false;

    /// <summary>
    /// The maximum number of operations in a row that are posted with <see cref="RmaDriverOperation.HasMore"/>. It must be
    /// less than what fits into a queue of the transport, because the transport may send none of them before the last.
    /// </summary>
    public virtual int MaxFollowed => int.MaxValue;

    /// <summary>Creates the transport's peer from an address; nothing is sent.</summary>
    /// <param name="address">The peer's <see cref="Address"/>, without trailer. It comes from an untrusted source, so
    /// check all of it.</param>
    /// <exception cref="RmaProviderException">The address is not one of this transport, or can't be reached; the message
    /// gives the reason.</exception>
    public abstract RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address);

    /// <summary>Makes a peer known to the transport.</summary>
    /// <param name="peer">The result of <see cref="OpenPeer(ReadOnlySpan{byte})"/>.</param>
    /// <returns>Its number. For a peer that is already inserted, the transport may return the same number.</returns>
    /// <exception cref="RmaProviderException">The transport refused.</exception>
    public abstract ulong InsertPeer(RmaDriverPeer peer);

    /// <summary>Removes a peer without outstanding operations from the transport.</summary>
    /// <param name="number">The peer's number.</param>
    /// <returns>False if the transport still has the peer; the endpoint tries again later.</returns>
    public virtual bool TryRemovePeer(ulong number) => true;

    /// <summary>Maps a peer's raw key. Called if <see cref="Regions.RmaProviderTraits.RawKeys"/> is true.</summary>
    /// <param name="peer">The peer, which is inserted.</param>
    /// <param name="memory">The peer's description of its memory.</param>
    /// <param name="unmap">Unmaps the key. Called once, from any thread, possibly after the endpoint was closed; must not
    /// throw.</param>
    /// <returns>The key that operations pass.</returns>
    /// <exception cref="RmaProviderException">The transport refused.</exception>
    public virtual ulong MapKey(RmaDriverPeer peer, in RemoteMemory memory, out Action? unmap)
    {
        unmap = null;
        return memory.Key;
    }

    /// <summary>Passes an operation to the transport. Its memory stays valid until its completion is reported.</summary>
    /// <param name="operation">The operation.</param>
    public abstract RmaPostResult Post(RmaDriverOperation operation);

    /// <summary>Reports available completions, up to a bounded number, and makes progress on transports that need calls for it.</summary>
    /// <param name="completions">Receives the completions.</param>
    /// <param name="clearSignal">Whether the wait descriptor was readable repeatedly although there was no completion:
    /// a transport whose signal may stay set must clear it.</param>
    public abstract RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal);

    /// <summary>
    /// Asks the transport to cancel an operation. Its completion must still be reported, by
    /// <see cref="RmaDriverCompletions.Cancelled"/> if it was cancelled.
    /// </summary>
    /// <param name="operation">An operation that was posted, or is being posted right now.</param>
    public virtual void Cancel(RmaDriverOperation operation)
    {
    }

    /// <summary>
    /// Checks whether the wait descriptor can be waited for. The endpoint's thread calls this before each wait, outside a
    /// turn, so callers that await may call <see cref="ReadCompletions"/> at the same time.
    /// </summary>
    /// <param name="reason">Why it can no longer be waited for, for <see cref="RmaWaitState.Broken"/>.</param>
    public virtual RmaWaitState PrepareToWait(out string? reason)
    {
        reason = null;
        return RmaWaitState.Ready;
    }

    /// <summary>Checks peers about four times a second, on a timer's thread, if <see cref="WatchesPeers"/> is true.</summary>
    /// <returns>Whether completions should be read soon.</returns>
    public virtual bool LookAfterPeers() => false;

    /// <summary>Whether an error means that the operation's peer is lost, so that later operations to it fail at once. Any thread may call this.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="error">The transport's code.</param>
    /// <returns>The reason, without a full stop; null if the peer isn't lost.</returns>
    public virtual string? FindLoss(RmaDriverOperation operation, int error) => null;

    /// <summary>Called when the transport was offered an operation, but currently accepts none. Any thread may call this.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="elapsed">The time since the operation was started; null if the caller has to try again.</param>
    public virtual void OnFull(RmaDriverOperation operation, TimeSpan? elapsed)
    {
    }

    /// <summary>Whether the driver holds back a send because its peer does not receive. The answer may be slightly out of date.</summary>
    /// <param name="operation">The send.</param>
    /// <param name="isQueued">Whether the send waits to be posted.</param>
    public virtual bool HoldsBack(RmaDriverOperation operation, bool isQueued) => false;

    /// <summary>
    /// Returns the name of an error code, such as ECONNRESET. Any thread may call this, even after the endpoint was closed;
    /// the same applies to <see cref="TextOf"/> and <see cref="HoldsBack"/>.
    /// </summary>
    /// <param name="error">The transport's code.</param>
    public virtual string NameOf(int error) => SystemErrors.NameOf(error);

    /// <summary>Returns the meaning of an error code as text; empty if the transport has none.</summary>
    /// <param name="error">The transport's code.</param>
    public virtual string TextOf(int error) => "";

    /// <summary>Explains why an operation did not complete in time; null if the transport has no explanation.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="wasPosted">Whether the transport still has it.</param>
    /// <returns>A sentence, such as "the peer has no receive posted. "; or null.</returns>
    public virtual string? ExplainTimeout(RmaDriverOperation operation, bool wasPosted) => null;

    /// <summary>
    /// Returns a possible reason, for the log, why a call into the transport does not return: a clause such as "it waits for
    /// a peer that is stopped". Any thread may call this while such a call is running.
    /// </summary>
    public virtual string ExplainStuckCall() => "it is opening a connection";

    /// <summary>
    /// Whether the endpoint is closed while operations of this side are unanswered, whose owners were notified that they
    /// failed. Data of these operations that is still in queues of this system should not be sent any more. Set before
    /// <see cref="Close"/>.
    /// </summary>
    internal bool LeavesUnanswered { get; set; }

    /// <summary>Closes the transport's endpoint, after all other calls. Must not throw.</summary>
    /// <param name="isRecalled">Whether all operations have completed.</param>
    /// <returns>True if the transport no longer accesses the memory of any operation; otherwise their buffers stay held.</returns>
    public abstract bool Close(bool isRecalled);

    /// <summary>
    /// Registers a callback for when the transport no longer accesses the memory of any operation, if <see cref="Close"/>
    /// returned false. It may never be called.
    /// </summary>
    internal virtual void WhenDone(Action done)
    {
    }

    /// <summary>Like <see cref="OpenPeer(ReadOnlySpan{byte})"/>, with the description of the peer's transport that its address contains.</summary>
    internal virtual RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address, TransportDescription? transport) => OpenPeer(address);

    /// <summary>Creates the object on which the endpoint's thread waits instead of the wait descriptor; null to use the descriptor.</summary>
    internal virtual IWaker? CreateWaker() => null;

    /// <summary>
    /// Called when a peer has its number, with which it is reported as the sender of messages. Called under a lock. Also
    /// called for a peer that is inserted again before its last operations have ended, and which the transport therefore
    /// still has.
    /// </summary>
    /// <param name="peer">The peer.</param>
    protected internal virtual void OnPeerInserted(RmaDriverPeer peer)
    {
    }

    /// <summary>Called under a lock when a peer has been removed; its operations may still be running.</summary>
    /// <param name="peer">The peer.</param>
    protected internal virtual void OnPeerRemoved(RmaDriverPeer peer)
    {
    }

    /// <summary>Reports that a peer can no longer be reached: operations to it fail from now on. Any thread may call this.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="reason">The reason, without a full stop.</param>
    /// <param name="error">The error code with which the operations fail.</param>
    protected internal void ReportLost(RmaDriverPeer peer, string reason, int error) => _endpoint?.Lose(peer, new PeerLoss(reason, error));

    /// <summary>
    /// Causes completions to be read soon. Any thread may call this, even before the endpoint is ready and after it was
    /// closed.
    /// </summary>
    protected internal void Wake() => _endpoint?.WakeForCompletions();

    internal void Attach(RmaEndpoint endpoint) => _endpoint = endpoint;
}
