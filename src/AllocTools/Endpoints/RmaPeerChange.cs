namespace AllocTools.Endpoints;

/// <summary>Reports that a peer's state has changed; see <see cref="IRmaEndpoint.ReadPeerChangesAsync"/>.</summary>
/// <param name="Peer">The peer, as it was inserted. When a peer is back after a loss, this is the peer that was inserted again.</param>
/// <param name="State">The new state.</param>
/// <param name="Reason">How the endpoint detected the change, as text.</param>
public sealed record RmaPeerChange(RmaPeer Peer, RmaPeerState State, string Reason);
