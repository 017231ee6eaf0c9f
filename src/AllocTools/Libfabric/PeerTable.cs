using System.Collections.Concurrent;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The peers that an endpoint may work with.</summary>
internal sealed class PeerTable(LibfabricContext context, AvHandle vector)
{
    private readonly ConcurrentDictionary<ulong, bool> _peers = new();

    public static ArgumentException Removed() => new("The peer was removed from this endpoint; insert it again.");

    public ulong Insert(ReadOnlySpan<byte> address)
    {
        // 1 is the number of addresses that were inserted.
        int status = vector.Insert(address, out ulong handle);
        if (status == 1 && handle != FiConstants.FI_ADDR_NOTAVAIL)
        {
            _peers[handle] = true;
            return handle;
        }
        throw LibfabricErrors.Provider(
            context.Library, context.Traits.ProviderName, $"fi_av_insert of a peer's address of {address.Length} bytes", status < 0 ? status : -FiErrno.FI_EINVAL);
    }

    public void Remove(ulong peer, ReadOnlySpan<OperationSlot> slots)
    {
        // libfabric crashes on operations with a peer that it has forgotten. First nothing new is let in, then what
        // runs is looked for; an operation does it the other way round, with a fence between.
        if (!_peers.TryRemove(peer, out _))
            throw Removed();
        foreach (OperationSlot slot in slots)
        {
            // Where something runs, or has timed out and may still run, the address stays with the transport.
            if (slot.State != OperationState.Free && slot.Peer == peer)
                return;
        }
        int status = vector.Remove(peer);
        if (status != 0)
            throw LibfabricErrors.Provider(context.Library, context.Traits.ProviderName, "fi_av_remove", status);
    }

    public bool HasLivePeer(in RmaOperation operation) => operation.Kind switch
    {
        RmaOperationKind.Receive => true,
        RmaOperationKind.Send => _peers.ContainsKey(operation.Peer.Handle),
        _ => _peers.ContainsKey(operation.Remote.Region.Peer.Handle),
    };
}
