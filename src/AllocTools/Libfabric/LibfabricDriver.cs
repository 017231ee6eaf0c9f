using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Drivers;
using AllocTools.Endpoints.Engine;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>libfabric's part of an endpoint: a reliable-datagram endpoint (FI_EP_RDM), its completion queue and address vector.</summary>
/// <remarks>Every operation has a native context of its own (FI_CONTEXT2), whose address identifies its completion.</remarks>
internal sealed unsafe class LibfabricDriver : RmaEndpointDriver
{
    /// <summary>The number of consecutive checks that an endpoint skips if it does not wait for a peer.</summary>
    private const int MostLooksLeftOut = 3;

    private readonly LibfabricContext _context;
    private readonly LibfabricEndpointResources _resources;
    private readonly bool _ownsResources;
    private readonly bool _isShared;
    private readonly int _maxUnreceivedMessages;
    private readonly PeerAddressFormat _format;
    private readonly PeerReach _reach;
    private readonly DeliveryGauge? _gauge;
    private readonly ReceiveOverflow? _overflow;
    private readonly TaggedNotifications? _tags;
    private readonly fi_context2* _contexts;
    private readonly LibfabricPoster _poster;
    private readonly CompletionReader _reader;
    private readonly TransmitLanes _lanes;
    private readonly PeerProbe _probe;
    private readonly ConcurrentDictionary<ulong, LibfabricPeer> _peers = new();
    private readonly Lock _vectorGate = new();
    private readonly Lock _closing = new();
    private Action? _whenDone;
    private int _looksLeftOut;
    private bool _wasRefusalLogged;
    private bool _isDone;

    /// <summary>Takes ownership of the resources if <paramref name="ownsResources"/> is true, unless it throws.</summary>
    public LibfabricDriver(LibfabricContext context, LibfabricEndpointResources resources, bool ownsResources, LibfabricOptions provider)
    {
        LibfabricEndpointOptions options = provider.Endpoint;
        _context = context;
        _resources = resources;
        _ownsResources = ownsResources;
        _isShared = LibfabricDiscovery.IsSharedMemory(context.Traits.ProviderName);
        _maxUnreceivedMessages = options.MaxUnreceivedMessages;
        fi_addr_format format = context.Info.Info->addr_format;
        byte[] advertised = AdvertisedAddress.Of(resources.Address, format, provider);
        Address = advertised;
        Description = context.Description.Copy();
        // It is not known from where an externally chosen address can be reached.
        if (string.IsNullOrEmpty(provider.AdvertisedNode) || Description.IsSharedMemory)
            Description.Place = PeerPlace.FindOwn();
        _format = new PeerAddressFormat(format, resources.Address);
        _reach = new PeerReach(format, resources.Address, advertised, Description.Place);
        int acquired = 0;
        try
        {
            _gauge = DeliveryGauge.TryOpen(context, options.MaxOutstanding);
            Description.Gauge = _gauge?.Remote;
            _contexts = (fi_context2*)NativeMemory.AlignedAlloc((nuint)options.MaxOutstanding * (nuint)sizeof(fi_context2), 64);
            NativeMemory.Clear(_contexts, (nuint)options.MaxOutstanding * (nuint)sizeof(fi_context2));
            _overflow = ReceiveOverflow.TryMap(context.Info, context.Traits, Math.Min(options.MaxMessageLength, context.Traits.MaxMessageSize), context.Health.Logger);
            resources.Endpoint.Acquire();
            acquired++;
            resources.Queue.Acquire();
            acquired++;
            var posted = new PostedOperation[options.MaxOutstanding];
            if (context.NotifiesByTags)
                _tags = new TaggedNotifications(resources.Endpoint);
            _lanes = new TransmitLanes(this, context, resources, posted);
            _poster = new LibfabricPoster(_lanes, context.Traits, posted, _contexts, _overflow, _gauge, _tags);
            _reader = new CompletionReader(context, resources.Queue, posted, _contexts, this, _overflow, _gauge, _tags);
            _probe = new PeerProbe(this, context);
        }
        catch
        {
            // libfabric has not received any of these objects yet.
            _tags?.Free();
            if (acquired > 1)
                resources.Queue.DangerousRelease();
            if (acquired > 0)
                resources.Endpoint.DangerousRelease();
            _overflow?.Unmap();
            NativeMemory.AlignedFree(_contexts);
            _gauge?.Close(fabricIsDone: true);
            throw;
        }
    }

    /// <summary>The description of the transport in the endpoint's address.</summary>
    public TransportDescription Description { get; }

    public override ReadOnlyMemory<byte> Address { get; }

    /// <summary>
    /// shm of libfabric 1.x looks for a receive and queues an unexpected message in two steps: a receive that is posted
    /// between them, while another thread makes progress, never matches its message. A progress turn may also close the
    /// native endpoint (<see cref="TransmitLanes"/>) to which another operation is just being posted.
    /// </summary>
    public override bool PostsBesideProgress => !_isShared;

    /// <summary>
    /// shm's processes lock each other's memory. A process that is killed at that moment leaves the lock behind, and
    /// every thread that posts to it spins forever.
    /// </summary>
    public override bool MayHangOnDeadPeers => _isShared;

    /// <summary>Queues of efa before libfabric 2.5 accept nothing when they are full of operations with FI_MORE, and send none of them.</summary>
    public override int MaxFollowed => 15;

    public override int WaitDescriptor => _resources.WaitDescriptor;

    public override bool WatchesPeers => _resources.InProcess is not null;

    /// <summary>Registrations, or other endpoints of this process, may keep the native endpoint open; closing it then drops nothing.</summary>
    public override bool MustRecallBeforeClosing => !_ownsResources || _resources.InProcess is { AreInUse: true };

    /// <summary>The inserted peers that are not lost.</summary>
    public IEnumerable<LibfabricPeer> PresentPeers => _peers.Values.Where(static p => p.IsPresent);

    /// <summary>The peer with a number; null if none is inserted.</summary>
    public LibfabricPeer? FindPeer(ulong number) => _peers.GetValueOrDefault(number);

    /// <summary>Whether it can be known that the bytes of sends to a peer have arrived.</summary>
    public static bool ConfirmsSendsTo(RmaDriverPeer peer) => ((LibfabricPeer)peer).Flow is not null;

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) => OpenPeer(address, null);

    internal override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address, TransportDescription? transport)
    {
        string? error = _format.FindReasonAgainst(address) is { } format
            ? format + ". Both sides need the same provider; pass the peer endpoint's Address as it is"
            : _reach.FindReasonAgainst(address, transport?.Place);
        if (error is not null)
        {
            throw new RmaProviderException(
                $"The peer's address of {address.Length} bytes can't be used with provider '{_context.Traits.ProviderName}': {error}.",
                FiErrno.FI_EINVAL,
                nameof(FiErrno.FI_EINVAL));
        }
        SharedMemoryFile.PeerFile? file = _resources.InProcess is { } own ? SharedMemoryFile.OpenPeer(address, own) : null;
        PeerFlow? flow = _gauge is not null && transport?.Gauge is var (gauge, key) ? new PeerFlow(gauge, key, _maxUnreceivedMessages) : null;
        return new LibfabricPeer(address.ToArray(), file, flow);
    }

    public override ulong InsertPeer(RmaDriverPeer peer)
    {
        ReadOnlySpan<byte> address = peer.Address.Span;
        ulong number;
        int status;
        lock (_vectorGate)
            status = _resources.Vector.Insert(address, out number);
        // 1 is the number of addresses that were inserted.
        if (status == 1 && number != FiConstants.FI_ADDR_NOTAVAIL)
            return number;
        status = status < 0 ? status : -FiErrno.FI_EINVAL;
        throw LibfabricErrors.Provider(
            _context.Library,
            _context.Traits.ProviderName,
            $"fi_av_insert of a peer's address of {address.Length} bytes",
            status,
            status == -FiErrno.FI_EINVAL ? $" It is not an address of this provider (pass the peer endpoint's Address as it is), or the transport has reached its limit of peers; {_peers.Count} are inserted{(_isShared ? ", and those that were removed count until this endpoint is closed" : "")}." : "");
    }

    protected internal override void OnPeerInserted(RmaDriverPeer peer) => _peers[peer.Number] = (LibfabricPeer)peer;

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => _peers.TryRemove(new KeyValuePair<ulong, LibfabricPeer>(peer.Number, (LibfabricPeer)peer));

    /// <remarks>
    /// Versions differ in what they refuse: sockets of libfabric 2.x reportedly returns FI_EINVAL for an inserted peer
    /// that was never connected (see libfabric's pull request 11689; not tested here). For this side a peer is removed
    /// in any case, so that is not an error of the caller. shm keeps a peer until the endpoint is closed: libfabric
    /// 1.17 would reuse its entry, including the connection's state, for the next peer, and later operations would
    /// never complete, or crash the other process with SIGSEGV.
    /// </remarks>
    public override bool TryRemovePeer(ulong number)
    {
        if (_isShared)
            return false;
        int status;
        lock (_vectorGate)
            status = _resources.Vector.Remove(number);
        if (status != 0 && !_wasRefusalLogged)
        {
            _wasRefusalLogged = true;
            Log.PeerNotForgotten(_context.Health.Logger, _context.Traits.ProviderName, FiErrno.NameOf(status));
        }
        // FI_EINVAL means that the peer does not exist, for whatever reason.
        return status == 0 || status == -FiErrno.FI_EINVAL;
    }

    public override ulong MapKey(RmaDriverPeer peer, in RemoteMemory memory, out Action? unmap)
    {
        LibfabricContext context = _context;
        ulong key = context.MapRawKey(memory.RawBase, memory.RawKey);
        unmap = () => context.UnmapRawKey(key);
        return key;
    }

    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        int status = (int)_poster.Post(operation);
        return status == 0 ? RmaPostResult.Posted
            : status == -FiErrno.FI_EAGAIN ? RmaPostResult.Full
            : RmaPostResult.Refused(Math.Abs(status));
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        bool happened = _reader.Read(completions, clearSignal);
        _tags?.PostReceives();
        // An unread completion may belong to an operation that the check would abandon.
        if (_reader.WasEmptied)
            _lanes.LookIfDue(completions);
        return happened ? RmaReadResult.Something : RmaReadResult.Nothing;
    }

    public override void Cancel(RmaDriverOperation operation) => _resources.Endpoint.Cancel(&_contexts[operation.Index]);

    public override RmaWaitState PrepareToWait(out string? reason)
    {
        int status = _context.Fabric.TryWait(_resources.Queue);
        reason = status == 0 ? null : $"fi_trywait failed with {FiErrno.NameOf(status)}";
        return status == 0 ? RmaWaitState.Ready : status == -FiErrno.FI_EAGAIN ? RmaWaitState.ReadFirst : RmaWaitState.Broken;
    }

    public override bool LookAfterPeers()
    {
        bool needsLook = _lanes.NeedsLook();
        // Checking a peer's file costs some system calls.
        if (needsLook || _looksLeftOut++ == MostLooksLeftOut)
        {
            _looksLeftOut = 0;
            _probe.LookAtFiles(PresentPeers);
        }
        if (needsLook)
            _lanes.NoteLook();
        return needsLook;
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => _probe.FindLoss((LibfabricPeer)operation.Peer!, error);

    public override void OnFull(RmaDriverOperation operation, TimeSpan? elapsed)
    {
        if (operation.Peer is LibfabricPeer { IsRemoved: false } peer)
            _probe.OnFull(peer, elapsed);
    }

    public override bool HoldsBack(RmaDriverOperation operation, bool isQueued) => _poster.HoldsBack(operation, isQueued);

    public override string NameOf(int error) => FiErrno.NameOf(error);

    public override string TextOf(int error) => _context.Library.StrError(error);

    public override string ExplainStuckCall() => _isShared ? "a peer that was killed has left a lock behind" : base.ExplainStuckCall();

    public override string? ExplainTimeout(RmaDriverOperation operation, bool wasPosted) =>
        wasPosted ? _lanes.ExplainTimeout(operation) : LibfabricPoster.ExplainTimeout(operation);

    public override bool Close(bool isRecalled)
    {
        if (LibfabricTraits.IsRxmOverSockets(_context.Traits.ProviderName))
            FabricSockets.End(_resources.WaitDescriptor, _resources.Queue, LeavesUnanswered);
        _resources.Endpoint.DangerousRelease();
        _resources.Queue.DangerousRelease();
        _lanes.EndHindrance();
        if (_ownsResources)
            _resources.Leave(() => CloseNatively(isRecalled));
        else
            CloseNatively(isRecalled);
        return isRecalled || Volatile.Read(ref _isDone);
    }

    internal override void WhenDone(Action done)
    {
        lock (_closing)
        {
            if (!_isDone)
            {
                _whenDone = done;
                return;
            }
        }
        done();
    }

    private void CloseNatively(bool isRecalled)
    {
        bool lanesAreClosed = _lanes.Close();
        if (_ownsResources)
            _resources.Close();
        bool isDone = isRecalled || (lanesAreClosed && _resources.IsEndpointClosed);
        if (isDone)
        {
            NativeMemory.AlignedFree(_contexts);
            _overflow?.Unmap();
        }
        // The receives of notifications end only when the endpoint is closed.
        if (lanesAreClosed && _resources.IsEndpointClosed)
            _tags?.Free();
        _gauge?.Close(isDone);
        Action? done = null;
        lock (_closing)
        {
            _isDone = isDone;
            if (isDone)
                done = _whenDone;
        }
        done?.Invoke();
    }

    internal override IWaker? CreateWaker() => _resources.Bell is { } bell ? new BellWaker(bell) : null;

    /// <summary>Opens one more native endpoint with the same peers, while none is inserted or removed.</summary>
    public TransmitLane OpenLane()
    {
        lock (_vectorGate)
            return _resources.OpenLane();
    }
}
