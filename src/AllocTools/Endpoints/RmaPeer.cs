using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints;

/// <summary>A peer that was inserted at an endpoint (<see cref="IRmaEndpoint.InsertPeer"/>). Valid for that endpoint only.</summary>
public readonly record struct RmaPeer
{
    internal RmaPeer(IRmaEndpoint owner, RmaDriverPeer entry)
    {
        Owner = owner;
        Handle = entry.Number;
        Entry = entry;
    }

    /// <summary>The endpoint that inserted it.</summary>
    public IRmaEndpoint Owner { get; }

    /// <summary>The endpoint's own number for it (fi_addr_t), which another may have once it was removed.</summary>
    public ulong Handle { get; }

    /// <summary>The peer itself: transports give numbers again.</summary>
    internal RmaDriverPeer? Entry { get; }

    /// <summary>Its number and its endpoint's provider, and whether it was removed or lost.</summary>
    public override string ToString() => Entry is null ? "no peer"
        : $"peer {Handle} of provider '{Owner.Context.Traits.ProviderName}'{(Entry.IsRemoved ? ", removed" : Entry.IsLost ? ", lost" : "")}";
}
