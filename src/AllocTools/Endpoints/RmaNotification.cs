namespace AllocTools.Endpoints;

/// <summary>Reports that a peer's write to this endpoint's memory has completed: all its bytes are there.</summary>
/// <param name="Value">The number that the peer gave to the write.</param>
/// <param name="Sender">The writer; null if the transport can't identify it (<see cref="Regions.RmaProviderTraits.SendersAreKnown"/>), or if the peer isn't inserted at this endpoint.</param>
public readonly record struct RmaNotification(ulong Value, RmaPeer? Sender);
