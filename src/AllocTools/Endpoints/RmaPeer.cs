using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints;

/// <summary>A peer that was inserted at an endpoint (<see cref="IRmaEndpoint.InsertPeer"/>). It is valid only for that endpoint.</summary>
public readonly record struct RmaPeer
{
    internal RmaPeer(IRmaEndpoint owner, RmaDriverPeer entry)
    {
        Owner = owner;
        Handle = entry.Number;
        Entry = entry;
    }

    /// <summary>The endpoint that inserted the peer.</summary>
    public IRmaEndpoint Owner { get; }

    /// <summary>The endpoint's own number for the peer (fi_addr_t), which another peer may get once this one has been removed.</summary>
    public ulong Handle { get; }

    /// <summary>The driver's object for the peer, which identifies it, because transports reuse numbers.</summary>
    internal RmaDriverPeer? Entry { get; }

    /// <summary>Returns the peer's number, its endpoint's provider, and whether it was removed or lost.</summary>
    public override string ToString() => Entry is null ? "no peer"
        : $"peer {Handle} of provider '{Owner.Context.Traits.ProviderName}'{(Entry.IsRemoved ? ", removed" : Entry.IsLost ? ", lost" : "")}";
}
