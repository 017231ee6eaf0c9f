using AllocTools.Endpoints;

namespace AllocTools.MultiRail;

/// <summary>A peer's memory, ready for transfers over all rails; created by <see cref="RmaMultiRail.Import"/>.</summary>
/// <remarks>Safe to use from any thread.</remarks>
public sealed class RmaRailRegion : IDisposable
{
    private readonly RemoteMemory?[] _memory;

    internal RmaRailRegion(RmaRailPeer peer, RailForm form)
    {
        Peer = peer;
        Id = form.Id;
        _memory = [.. peer.Links.Select(link => form.Rails.Where(r => r.Name == link.Name).Select(static r => (RemoteMemory?)r.Memory).FirstOrDefault())];
        if (_memory.All(static m => m is null))
            throw new FormatException("The memory is on no rail that leads to the peer.");
        long[] lengths = [.. form.Rails.Select(static r => r.Memory.Length).Distinct()];
        if (lengths.Length != 1)
            throw new FormatException("The memory of a multi-rail must have the same length on each rail.");
        Length = lengths[0];
    }

    /// <summary>The owner of the memory.</summary>
    public RmaRailPeer Peer { get; }

    /// <summary>The length in bytes.</summary>
    public long Length { get; }

    /// <summary>The id of the exposure.</summary>
    internal Guid Id { get; }

    internal bool IsDisposed { get; private set; }

    /// <summary>Returns the memory as a link reaches it; null if the link does not.</summary>
    internal RemoteMemory? On(int link) => _memory[link];

    /// <summary>Releases the region. Transfers that are under way continue.</summary>
    public void Dispose()
    {
        IsDisposed = true;
        foreach (RailLink link in Peer.Links)
            link.Session?.Forget(this);
    }
}
