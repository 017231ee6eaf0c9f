using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The peers that an endpoint may work with.</summary>
/// <remarks>
/// Transports give a number that is free again to the next peer, so a peer is its number and a generation; and most of
/// them give an address that is there already the number it has, so it is inserted with them once, and counted here.
/// A peer that is removed under an operation stays with the transport until a later insertion or removal finds that
/// operation ended, or the address comes back.
/// </remarks>
internal sealed class PeerTable(LibfabricContext context, AvHandle vector, PeerAddressFormat format)
{
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<ulong, PeerEntry> _peers = new();
    private readonly Dictionary<string, ulong> _handles = [];
    private readonly Dictionary<string, ulong> _left = [];
    private long _generations;

    public static ArgumentException Removed() => new("The peer was removed from this endpoint, or was never inserted at it; insert it.");

    /// <summary>Inserts a peer, or counts once more one that is there.</summary>
    public ulong Insert(ReadOnlySpan<byte> address, ReadOnlySpan<OperationSlot> slots, out long generation)
    {
        ReadOnlySpan<byte> whole = address;
        address = EndpointAddress.Parse(whole, out TransportDescription? transport, out string? error);
        error ??= transport is null ? null : context.Description.FindReasonAgainst(transport);
        error ??= format.FindReasonAgainst(address);
        if (error is not null)
        {
            throw new RmaProviderException(
                $"The peer's address of {whole.Length} bytes can't be used with provider '{context.Traits.ProviderName}': {error}. Both sides need the same provider; pass the peer endpoint's Address as it is.",
                FiErrno.FI_EINVAL,
                nameof(FiErrno.FI_EINVAL));
        }
        string text = Convert.ToHexString(address);
        lock (_gate)
        {
            if (!_handles.TryGetValue(text, out ulong handle))
            {
                LetGoOfLeft_NeedsLock(slots);
                if (!_left.Remove(text, out handle))
                    handle = InsertNatively(address);
            }
            // Some transports give one peer's number to addresses that are spelt differently, too.
            if (_peers.TryGetValue(handle, out PeerEntry? known))
            {
                known.Insertions++;
                known.Transport = transport;
                generation = known.Generation;
                return handle;
            }
            foreach ((string left, _) in _left.Where(l => l.Value == handle).ToArray())
                _left.Remove(left);
            generation = ++_generations;
            _peers[handle] = new PeerEntry(text, generation) { Transport = transport };
            _handles[text] = handle;
            return handle;
        }
    }

    public void Remove(RmaPeer peer, ReadOnlySpan<OperationSlot> slots)
    {
        lock (_gate)
        {
            if (!TryFind(peer, out PeerEntry? entry))
                throw Removed();
            if (--entry.Insertions > 0)
                return;
            // libfabric crashes on operations with a peer that it has forgotten. First nothing new is let in, then what
            // runs is looked for; an operation does it the other way round, with a fence between.
            _handles.Remove(entry.Address);
            _peers.TryRemove(peer.Handle, out _);
            LetGoOfLeft_NeedsLock(slots);
            if (IsUsed(peer.Handle, slots))
            {
                _left[entry.Address] = peer.Handle;
                return;
            }
            int status = vector.Remove(peer.Handle);
            if (status != 0)
                throw LibfabricErrors.Provider(context.Library, context.Traits.ProviderName, "fi_av_remove", status);
        }
    }

    /// <summary>What a peer's address said of its transport; null where it said nothing, or the peer was removed.</summary>
    public TransportDescription? TransportOf(RmaPeer peer) => TryFind(peer, out PeerEntry? entry) ? entry.Transport : null;

    public bool HasLivePeer(in RmaOperation operation) => operation.Kind switch
    {
        RmaOperationKind.Receive => true,
        RmaOperationKind.Send => TryFind(operation.Peer, out _),
        _ => TryFind(operation.Remote.Region.Peer, out _),
    };

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

    /// <summary>Has the transport forget those whose operations have ended. One that it won't forget is tried again later.</summary>
    private void LetGoOfLeft_NeedsLock(ReadOnlySpan<OperationSlot> slots)
    {
        if (_left.Count == 0)
            return;
        foreach ((string address, ulong handle) in _left.ToArray())
        {
            if (!IsUsed(handle, slots) && vector.Remove(handle) == 0)
                _left.Remove(address);
        }
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
