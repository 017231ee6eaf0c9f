using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace AllocTools.HostMemory;

/// <summary>The peers of an endpoint. One that is inserted again is the same, until it was removed as often.</summary>
internal sealed class HostPeerTable
{
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<ulong, HostEndpoint> _peers = new();
    private readonly Dictionary<HostEndpoint, (ulong Handle, int Insertions)> _handles = [];
    private readonly HashSet<HostEndpoint> _removed = [];
    private ulong _last;

    public ulong Insert(HostEndpoint peer)
    {
        lock (_gate)
        {
            (ulong handle, int insertions) = _handles.GetValueOrDefault(peer);
            // Never one that another had.
            if (insertions == 0)
                _peers[handle = ++_last] = peer;
            _handles[peer] = (handle, insertions + 1);
            return handle;
        }
    }

    /// <returns>False: it isn't in.</returns>
    public bool Remove(ulong peer)
    {
        lock (_gate)
        {
            if (!_peers.TryGetValue(peer, out HostEndpoint? endpoint))
                return false;
            int left = _handles[endpoint].Insertions - 1;
            _handles[endpoint] = (peer, left);
            if (left > 0)
                return true;
            _handles.Remove(endpoint);
            _peers.TryRemove(peer, out _);
            // What is closed has nothing of ours any more.
            _removed.RemoveWhere(e => e.IsClosed);
            _removed.Add(endpoint);
            return true;
        }
    }

    public bool TryFind(ulong peer, [NotNullWhen(true)] out HostEndpoint? endpoint) => _peers.TryGetValue(peer, out endpoint);

    public bool TryFind(HostEndpoint endpoint, out ulong peer)
    {
        lock (_gate)
        {
            bool isIn = _handles.TryGetValue(endpoint, out (ulong Handle, int Insertions) entry);
            peer = entry.Handle;
            return isIn;
        }
    }

    /// <summary>Wherever something of ours may wait: what was sent to a peer goes on when it is removed.</summary>
    public HostEndpoint[] All()
    {
        lock (_gate)
            return [.. _handles.Keys, .. _removed];
    }
}
