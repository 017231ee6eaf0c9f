using AllocTools.Endpoints;

namespace AllocTools.MultiRail;

/// <summary>One session of a link. It has its own endpoint, which is closed when the link fails, so that none of its operations remain.</summary>
internal sealed class RailSession
{
    private readonly Lock _gate = new();
    private readonly Dictionary<RmaRailRegion, RemoteRegion> _imported = [];
    private readonly RmaPeer _peer;
    private Task? _closed;

    public RailSession(IRmaMemoryPool pool, ReadOnlyMemory<byte> address)
    {
        Endpoint = pool.Context.OpenEndpoint();
        try
        {
            _peer = Endpoint.InsertPeer(address.Span);
        }
        catch
        {
            Endpoint.Dispose();
            throw;
        }
    }

    public IRmaEndpoint Endpoint { get; }

    /// <summary>Whether operations fail because the link was given up or its endpoint has failed.</summary>
    public bool HasEnded => Volatile.Read(ref _closed) is not null || Endpoint.GetStatistics().State is RmaEndpointState.Failed or RmaEndpointState.Closed;

    /// <summary>Returns a region's memory as this endpoint reaches it.</summary>
    public RemoteRegion Import(RmaRailRegion region, in RemoteMemory memory)
    {
        lock (_gate)
        {
            if (!_imported.TryGetValue(region, out RemoteRegion? imported))
                _imported[region] = imported = Endpoint.Import(_peer, memory);
            return imported;
        }
    }

    public void Forget(RmaRailRegion region)
    {
        lock (_gate)
        {
            if (_imported.Remove(region, out RemoteRegion? imported))
                imported.Dispose();
        }
    }

    /// <summary>Reads the peer's word, which shows that the link works in both directions.</summary>
    public async Task ProbeAsync(IRmaMemoryPool pool, RemoteMemory word, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using RmaBuffer buffer = pool.Rent(word.Length);
        using RemoteRegion remote = Endpoint.Import(_peer, word);
        await Endpoint.ReadAsync(buffer.Slice(0, word.Length), remote, timeout, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Closes the endpoint. Once the task has completed, the transport no longer uses any of its memory, unless a call into it is stuck.</summary>
    public Task CloseAsync()
    {
        lock (_gate)
            return _closed ??= CloseOnceAsync();
    }

    private async Task CloseOnceAsync()
    {
        await Task.Yield();
        await Endpoint.DisposeAsync().ConfigureAwait(false);
        lock (_gate)
        {
            foreach (RemoteRegion region in _imported.Values)
                region.Dispose();
            _imported.Clear();
        }
    }
}
