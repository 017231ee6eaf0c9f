namespace AllocTools.Endpoints;

/// <summary>A peer's write to this endpoint's memory is done: all its bytes are there.</summary>
/// <param name="Value">The number that the peer gave the write.</param>
/// <param name="Sender">Whose write it was; null where the transport can't tell (<see cref="Regions.RmaProviderTraits.SendersAreKnown"/>), and for a peer that isn't inserted at this endpoint.</param>
public readonly record struct RmaNotification(ulong Value, RmaPeer? Sender);
