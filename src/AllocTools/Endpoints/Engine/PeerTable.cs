using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>The peers that an endpoint may work with.</summary>
/// <remarks>
/// Transports give a number that is free again to the next peer, so a peer is its number and a generation; and most of
/// them give an address that is there already the number it has, so it is inserted with them once, and counted here.
/// A peer that is removed under an operation stays with the transport until a later insertion or removal finds that
/// operation ended, or the address comes back. One that is lost stays in until it is removed or inserted again, which
/// removes and inserts it with the transport, too, so that nothing of its connection is left.
/// </remarks>
internal sealed class PeerTable(
    IRmaEndpoint endpoint, LibfabricContext context, AvHandle vector, TransportDescription own, PeerAddressFormat format, PeerReach reach, bool hasFiles, DeliveryGauge? gauge, int maxUnreceivedMessages)
{
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<ulong, PeerEntry> _peers = new();
    private readonly Dictionary<string, ulong> _handles = [];
    private readonly Dictionary<string, ulong> _left = [];

    // How often those were inserted that were lost and then inserted again, by generation: each may still be removed.
    private readonly Dictionary<long, int> _replaced = [];
    private long _generations;
    private bool _wasRefusalLogged;

    public static ArgumentException Removed() => new("This RmaPeer is not at the endpoint: it was removed, or is from before the peer was inserted again. Use the RmaPeer that InsertPeer returned last, and import the peer's memory with it.");

    /// <summary>Inserts a peer, or counts once more one that is there.</summary>
    public ulong Insert(ReadOnlySpan<byte> address, ReadOnlySpan<OperationSlot> slots, out long generation)
    {
        ReadOnlySpan<byte> whole = address;
        address = EndpointAddress.Parse(whole, out TransportDescription? transport, out string? error);
        error ??= transport is null ? null : own.FindReasonAgainst(transport);
        error ??= format.FindReasonAgainst(address);
        if (error is not null)
            error += ". Both sides need the same provider; pass the peer endpoint's Address as it is";
        error ??= reach.FindReasonAgainst(address, transport?.Place);
        if (error is not null)
        {
            throw new RmaProviderException(
                $"The peer's address of {whole.Length} bytes can't be used with provider '{context.Traits.ProviderName}': {error}.",
                FiErrno.FI_EINVAL,
                nameof(FiErrno.FI_EINVAL));
        }
        SharedMemoryFile.PeerFile? file = hasFiles ? SharedMemoryFile.OpenPeer(address) : null;
        bool isKept = false;
        string text = Convert.ToHexString(address);
        _gate.Enter();
        try
        {
            if (_handles.TryGetValue(text, out ulong handle) && _peers.TryGetValue(handle, out PeerEntry? lost) && lost.Loss is not null)
                Replace_NeedsLock(text, handle, lost, slots);
            if (!_handles.TryGetValue(text, out handle))
            {
                LetGoOfLeft_NeedsLock(slots);
                if (!_left.Remove(text, out handle))
                    handle = InsertNatively(address);
            }
            // Some transports give one peer's number to addresses that are spelt differently, too.
            if (_peers.TryGetValue(handle, out lost) && lost.Loss is not null)
            {
                Replace_NeedsLock(Convert.ToHexString(lost.Address), handle, lost, slots);
                handle = InsertNatively(address);
            }
            if (_peers.TryGetValue(handle, out PeerEntry? known))
            {
                known.Insertions++;
                known.Transport = transport;
                // One that has started again at the same address shows another word.
                if (transport?.Gauge != known.Flow?.Gauge)
                    known.Flow = FlowOf(transport);
                generation = known.Generation;
                return handle;
            }
            foreach ((string left, _) in _left.Where(l => l.Value == handle).ToArray())
                _left.Remove(left);
            generation = ++_generations;
            _peers[handle] = new PeerEntry(address.ToArray(), generation, file) { Transport = transport, Flow = FlowOf(transport) };
            isKept = true;
            _handles[text] = handle;
            return handle;
        }
        finally
        {
            _gate.Exit();
            if (!isKept)
                file?.Dispose();
        }
    }

    public void Remove(RmaPeer peer, ReadOnlySpan<OperationSlot> slots)
    {
        lock (_gate)
        {
            if (!TryFind(peer, out PeerEntry? entry))
            {
                RemoveReplaced_NeedsLock(peer);
                return;
            }
            if (--entry.Insertions > 0)
                return;
            string text = Convert.ToHexString(entry.Address);
            // libfabric crashes on operations with a peer that it has forgotten. First nothing new is let in, then what
            // runs is looked for; an operation does it the other way round, with a fence between.
            _handles.Remove(text);
            _peers.TryRemove(peer.Handle, out _);
            entry.File?.Dispose();
            Fence.Full();
            LetGoOfLeft_NeedsLock(slots);
            if (IsUsed(peer.Handle, slots))
            {
                _left[text] = peer.Handle;
                return;
            }
            if (!TryForget_NeedsLock(peer.Handle))
                _left[text] = peer.Handle;
        }
    }

    /// <summary>What a peer's address said of its transport; null where it said nothing, or the peer was removed.</summary>
    public TransportDescription? TransportOf(RmaPeer peer) => TryFind(peer, out PeerEntry? entry) ? entry.Transport : null;

    /// <summary>How a peer takes messages; null where its address did not say how to find out, or the peer was removed.</summary>
    public PeerFlow? FlowOf(RmaPeer peer) => gauge is not null && TryFind(peer, out PeerEntry? entry) ? entry.Flow : null;

    private PeerFlow? FlowOf(TransportDescription? transport) =>
        gauge is not null && transport?.Gauge is var (address, key) ? new PeerFlow(address, key, maxUnreceivedMessages) : null;

    /// <summary>Why an operation can't go to its peer: the peer was removed, or is lost. Null where it can.</summary>
    public Exception? FindReasonAgainst(in RmaOperation operation)
    {
        if (operation.Kind == RmaOperationKind.Receive)
            return null;
        RmaPeer peer = operation.Kind == RmaOperationKind.Send ? operation.Peer : operation.Remote.Region.Peer;
        return !TryFind(peer, out PeerEntry? entry) ? Removed()
            : entry.Loss is { } loss ? LostError(peer, operation.Kind, operation.Local.Length, loss)
            : null;
    }

    /// <summary>The error of an operation whose peer is lost; null where it is not, or was removed.</summary>
    public RmaPeerLostException? FindLoss(OperationSlot slot)
    {
        RmaPeer peer = new(endpoint, slot.Peer, slot.PeerGeneration);
        return TryFind(peer, out PeerEntry? entry) && entry.Loss is { } loss ? LostError(peer, slot.Kind, slot.Length, loss) : null;
    }

    /// <summary>The entry of an operation's peer, where it is still in.</summary>
    public PeerEntry? Find(OperationSlot slot) =>
        _peers.TryGetValue(slot.Peer, out PeerEntry? entry) && entry.Generation == slot.PeerGeneration ? entry : null;

    /// <summary>Those that are in and not lost.</summary>
    public IEnumerable<KeyValuePair<ulong, PeerEntry>> Present => _peers.Where(static p => p.Value.Loss is null);

    /// <summary>Nothing reaches the peer any more: operations to it fail from now on. The caller ends those that are outstanding.</summary>
    /// <returns>False: it was known to be lost.</returns>
    public bool TryLose(ulong handle, PeerEntry entry, PeerLoss loss)
    {
        if (!entry.TryLose(loss))
            return false;
        // What is not seen in its slot by whoever ends what is outstanding sees the loss.
        Fence.Full();
        Log.PeerLost(context.Logger, context.Traits.ProviderName, handle, loss.Reason);
        Lost.Report(new RmaPeerLost(new RmaPeer(endpoint, handle, entry.Generation), loss.Reason));
        return true;
    }

    /// <summary>Runs what must not run while a peer is inserted or removed.</summary>
    public void Exclusively(Action action)
    {
        lock (_gate)
            action();
    }

    /// <summary>Closes the files of peers. Nothing is inserted any more.</summary>
    public void CloseFiles()
    {
        lock (_gate)
        {
            foreach (PeerEntry entry in _peers.Values)
                entry.File?.Dispose();
        }
    }

    /// <summary>Reports lost peers.</summary>
    public LostPeers Lost { get; } = new();

    private RmaPeerLostException LostError(RmaPeer peer, RmaOperationKind kind, long length, PeerLoss loss) =>
        LibfabricErrors.PeerLost(context.Traits.ProviderName, kind, length, peer, loss);

    private bool TryFind(RmaPeer peer, [NotNullWhen(true)] out PeerEntry? entry) =>
        _peers.TryGetValue(peer.Handle, out entry) && entry.Generation == peer.Generation;

    /// <summary>Something runs, or has timed out and may still run. What has ended is the fabric's no more, though its slot may not be free yet.</summary>
    private static bool IsUsed(ulong handle, ReadOnlySpan<OperationSlot> slots)
    {
        foreach (OperationSlot slot in slots)
        {
            if (slot.State is not (OperationState.Free or OperationState.Ended) && slot.Peer == handle)
                return true;
        }
        return false;
    }

    /// <summary>Takes a lost one out, with the transport, too, so that it is connected anew. Where something of it still runs the transport keeps it.</summary>
    private void Replace_NeedsLock(string text, ulong handle, PeerEntry lost, ReadOnlySpan<OperationSlot> slots)
    {
        _replaced[lost.Generation] = lost.Insertions;
        _handles.Remove(text);
        _peers.TryRemove(handle, out _);
        lost.File?.Dispose();
        if (IsUsed(handle, slots) || !TryForget_NeedsLock(handle))
            _left[text] = handle;
    }

    private void RemoveReplaced_NeedsLock(RmaPeer peer)
    {
        if (!_replaced.TryGetValue(peer.Generation, out int insertions))
            throw Removed();
        if (insertions == 1)
            _replaced.Remove(peer.Generation);
        else
            _replaced[peer.Generation] = insertions - 1;
    }

    /// <summary>Has the transport forget those whose operations have ended. One that it won't forget is tried again later.</summary>
    private void LetGoOfLeft_NeedsLock(ReadOnlySpan<OperationSlot> slots)
    {
        if (_left.Count == 0)
            return;
        foreach ((string address, ulong handle) in _left.ToArray())
        {
            if (!IsUsed(handle, slots) && TryForget_NeedsLock(handle))
                _left.Remove(address);
        }
    }

    /// <summary>Has the transport forget a peer. False: it still has it.</summary>
    /// <remarks>
    /// Versions differ in what they refuse: sockets of libfabric 2.x is said to give FI_EINVAL for a peer that is in and was
    /// never connected to (see libfabric's pull request 11689; not run here). For this side a peer is removed in any case, so that is no error of the caller's.
    /// </remarks>
    private bool TryForget_NeedsLock(ulong handle)
    {
        int status = vector.Remove(handle);
        if (status != 0 && !_wasRefusalLogged)
        {
            _wasRefusalLogged = true;
            Log.PeerNotForgotten(context.Logger, context.Traits.ProviderName, FiErrno.NameOf(status));
        }
        // It is not there, whatever it was.
        return status == 0 || status == -FiErrno.FI_EINVAL;
    }

    private ulong InsertNatively(ReadOnlySpan<byte> address)
    {
        // 1 is the number of addresses that were inserted.
        int status = vector.Insert(address, out ulong handle);
        if (status == 1 && handle != FiConstants.FI_ADDR_NOTAVAIL)
            return handle;
        status = status < 0 ? status : -FiErrno.FI_EINVAL;
        throw LibfabricErrors.Provider(
            context.Library,
            context.Traits.ProviderName,
            $"fi_av_insert of a peer's address of {address.Length} bytes",
            status,
            status == -FiErrno.FI_EINVAL ? $" It is no address of this provider (pass the peer endpoint's Address as it is), or there are as many peers as the transport takes; {_peers.Count + _left.Count} are in." : "");
    }
}
