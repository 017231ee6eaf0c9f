using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Engine;
using AllocTools.Interop;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>
/// What an endpoint's transport does: posts operations, reads their completions, knows peers. <see cref="RmaEndpoint"/> does
/// the rest: time-outs, cancellation, order, waiting for room, awaiting, quarantine, statistics, spans. docs/providers.md
/// shows one in a page.
/// </summary>
/// <remarks>
/// <para>
/// Calls: <see cref="Post"/> comes from any thread, also while completions are read, unless <see cref="PostsBesideProgress"/> is
/// false; <see cref="ReadCompletions"/> and <see cref="Cancel"/> come from one thread at a time, which holds the progress
/// turn; peers are inserted and removed by one thread at a time, and opened by several; the rest as each member says.
/// </para>
/// <para>
/// An operation that was posted is the transport's until its completion was reported. Once <see cref="Post"/> has handed it to
/// the transport it may complete, and its object be used for another one, before the call returns: read nothing of it after that.
/// </para>
/// <para>Members throw <see cref="RmaException"/> where the transport fails; the endpoint then ends what is outstanding.</para>
/// </remarks>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaEndpointDriver
{
    private RmaEndpoint? _endpoint;

    /// <summary>The transport's own address, without the trailer that <see cref="RmaEndpoint.Address"/> adds.</summary>
    public abstract ReadOnlyMemory<byte> Address { get; }

    /// <summary>The longest message that can be sent or received, in bytes. RMA is split by <see cref="Regions.RmaProviderTraits.MaxMessageSize"/>.</summary>
    public virtual long MaxMessageLength => long.MaxValue;

    /// <summary>
    /// <see cref="Post"/> may be called while another thread reads completions. Where false the thread that holds the turn
    /// posts, for all others.
    /// </summary>
    public virtual bool PostsBesideProgress => true;

    /// <summary>
    /// A thread that was killed in another process may keep a call into the transport from ever returning (a lock in shared
    /// memory). Then only the endpoint's own thread, which is watched, calls it.
    /// </summary>
    public virtual bool MayHangOnDeadPeers => false;

    /// <summary>The descriptor that is readable while completions may be there; -1 where there is none.</summary>
    public virtual int WaitDescriptor => -1;

    /// <summary>
    /// The driver calls <see cref="Wake"/> whenever completions are there to be read, so nobody needs to look in pauses.
    /// </summary>
    public virtual bool WakesForCompletions => false;

    /// <summary>The driver wants <see cref="LookAfterPeers"/> to be called now and then.</summary>
    public virtual bool WatchesPeers => false;

    /// <summary>Closing drops nothing of what is outstanding, so all of it must be given up first.</summary>
    public virtual bool MustRecallBeforeClosing => false;

    /// <summary>The most operations in a row that are posted with <see cref="RmaDriverOperation.HasMore"/>: fewer than fit into a queue of the transport that sends none of them before the last.</summary>
    public virtual int MaxFollowed => int.MaxValue;

    /// <summary>Makes what a peer is to the transport, from its address; nothing is sent.</summary>
    /// <param name="address">The peer's <see cref="Address"/>, without trailer. It comes from elsewhere: check all of it.</param>
    /// <exception cref="RmaProviderException">It is no address of this transport, or can't be reached; the message says why.</exception>
    public abstract RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address);

    /// <summary>Makes a peer known to the transport.</summary>
    /// <param name="peer">What <see cref="OpenPeer(ReadOnlySpan{byte})"/> made.</param>
    /// <returns>Its number. The transport may give the number of a peer that is in where it is the same one.</returns>
    /// <exception cref="RmaProviderException">The transport refused.</exception>
    public abstract ulong InsertPeer(RmaDriverPeer peer);

    /// <summary>Has the transport forget a peer, with whom nothing is outstanding.</summary>
    /// <param name="number">Its number.</param>
    /// <returns>False: the transport still has it; the endpoint tries again later.</returns>
    public virtual bool TryRemovePeer(ulong number) => true;

    /// <summary>Makes a peer's raw key usable. Called where <see cref="Regions.RmaProviderTraits.RawKeys"/> says so.</summary>
    /// <param name="peer">The peer, which is in.</param>
    /// <param name="memory">What the peer said of its memory.</param>
    /// <param name="unmap">Ends it; called once, from any thread, maybe after the endpoint was closed; must not throw.</param>
    /// <returns>The key that operations pass.</returns>
    /// <exception cref="RmaProviderException">The transport refused.</exception>
    public virtual ulong MapKey(RmaDriverPeer peer, in RemoteMemory memory, out Action? unmap)
    {
        unmap = null;
        return memory.Key;
    }

    /// <summary>Gives an operation to the transport. Its memory stays valid until its completion was reported.</summary>
    /// <param name="operation">The operation.</param>
    public abstract RmaPostResult Post(RmaDriverOperation operation);

    /// <summary>Reports the completions that are there, a bounded number, and moves what only moves when somebody calls.</summary>
    /// <param name="completions">Takes them.</param>
    /// <param name="clearSignal">The wait descriptor was readable again and again though nothing was there: a transport whose signal may stay takes it away.</param>
    public abstract RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal);

    /// <summary>
    /// Asks the transport to give an operation up. Advice: its completion is reported all the same, by
    /// <see cref="RmaDriverCompletions.Cancelled"/> where it was given up.
    /// </summary>
    /// <param name="operation">One that was posted, or is being posted right now.</param>
    public virtual void Cancel(RmaDriverOperation operation)
    {
    }

    /// <summary>
    /// Asks whether the wait descriptor can be waited for. Called by the endpoint's thread before each wait, outside of a turn:
    /// awaits of callers may call <see cref="ReadCompletions"/> at the same time.
    /// </summary>
    /// <param name="reason">Why it can't be any more, for <see cref="RmaWaitState.Broken"/>.</param>
    public virtual RmaWaitState PrepareToWait(out string? reason)
    {
        reason = null;
        return RmaWaitState.Ready;
    }

    /// <summary>Looks after peers, about four times a second, from a timer's thread, where <see cref="WatchesPeers"/> says so.</summary>
    /// <returns>Completions are to be read soon.</returns>
    public virtual bool LookAfterPeers() => false;

    /// <summary>Whether an error means that the operation's peer is lost, so that later operations to it fail at once. Any thread may call this.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="error">The transport's code.</param>
    /// <returns>The reason, without a full stop; null where it isn't lost.</returns>
    public virtual string? FindLoss(RmaDriverOperation operation, int error) => null;

    /// <summary>The transport was asked to take an operation, and takes nothing for the moment. Any thread may call this.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="elapsed">Since when it was started; null where the caller has to try it again.</param>
    public virtual void OnFull(RmaDriverOperation operation, TimeSpan? elapsed)
    {
    }

    /// <summary>The driver holds a send back, because its peer does not receive. A look from outside, which may be a moment late.</summary>
    /// <param name="operation">The send.</param>
    /// <param name="isQueued">It waits to be posted.</param>
    public virtual bool HoldsBack(RmaDriverOperation operation, bool isQueued) => false;

    /// <summary>The name of an error code, such as ECONNRESET. Any thread may call this, also after the endpoint was closed; so it is with <see cref="TextOf"/> and <see cref="HoldsBack"/>.</summary>
    /// <param name="error">The transport's code.</param>
    public virtual string NameOf(int error) => SystemErrors.NameOf(error);

    /// <summary>What an error code means, in words; empty where the transport has none.</summary>
    /// <param name="error">The transport's code.</param>
    public virtual string TextOf(int error) => "";

    /// <summary>What the transport knows of why an operation did not complete in time; null where it knows nothing.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="wasPosted">The transport still has it.</param>
    /// <returns>A sentence, such as "the peer has no receive posted. "; or null.</returns>
    public virtual string? ExplainTimeout(RmaDriverOperation operation, bool wasPosted) => null;

    /// <summary>What a call into the transport that does not return may wait for, for the log: a clause such as "it waits for a peer that is stopped". Any thread may call this, while such a call runs.</summary>
    public virtual string ExplainStuckCall() => "it is opening a connection";

    /// <summary>Closes the transport's endpoint, after the last of all other calls. Must not throw.</summary>
    /// <param name="isRecalled">All operations have come back.</param>
    /// <returns>True where the transport touches no memory of any operation any more; else their buffers stay held.</returns>
    public abstract bool Close(bool isRecalled);

    /// <summary>Calls back once the transport touches no memory of any operation any more, where <see cref="Close"/> has returned false. Maybe never.</summary>
    internal virtual void WhenDone(Action done)
    {
    }

    /// <summary>As <see cref="OpenPeer(ReadOnlySpan{byte})"/>, with what the address said of the peer's transport.</summary>
    internal virtual RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address, TransportDescription? transport) => OpenPeer(address);

    /// <summary>What the endpoint's thread waits on, instead of the wait descriptor; null for that.</summary>
    internal virtual IWaker? CreateWaker() => null;

    /// <summary>
    /// A peer is in, with its number: the one to report as the sender of its messages. Called under a lock, also for one
    /// that comes back before its last operations have ended, which is not inserted once more.
    /// </summary>
    /// <param name="peer">The peer.</param>
    protected internal virtual void OnPeerInserted(RmaDriverPeer peer)
    {
    }

    /// <summary>A peer is not in any more; its operations may still run. Called under a lock.</summary>
    /// <param name="peer">The peer.</param>
    protected internal virtual void OnPeerRemoved(RmaDriverPeer peer)
    {
    }

    /// <summary>Nothing reaches a peer any more: operations to it fail from now on. Any thread may call this.</summary>
    /// <param name="peer">The peer.</param>
    /// <param name="reason">Why, without a full stop.</param>
    /// <param name="error">The code of the operations' errors.</param>
    protected internal void ReportLost(RmaDriverPeer peer, string reason, int error) => _endpoint?.Lose(peer, new PeerLoss(reason, error));

    /// <summary>Has completions read soon. Any thread may call this, also before the endpoint is ready and after it was closed.</summary>
    protected internal void Wake() => _endpoint?.WakeForCompletions();

    internal void Attach(RmaEndpoint endpoint) => _endpoint = endpoint;
}
