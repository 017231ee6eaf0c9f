namespace AllocTools.Endpoints;

/// <summary>A peer's state has changed; see <see cref="IRmaEndpoint.ReadPeerChangesAsync"/>.</summary>
/// <param name="Peer">The peer, as it was inserted. After a loss this is the peer that was inserted again.</param>
/// <param name="State">Its state from now on.</param>
/// <param name="Reason">How the endpoint detected the change, in words.</param>
public sealed record RmaPeerChange(RmaPeer Peer, RmaPeerState State, string Reason);
