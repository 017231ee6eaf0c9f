namespace AllocTools.Endpoints;

/// <summary>A peer was lost; see <see cref="IRmaEndpoint.ReadLostPeersAsync"/>.</summary>
/// <param name="Peer">The peer, as it was inserted.</param>
/// <param name="Reason">How the endpoint detected the loss, in words.</param>
public sealed record RmaPeerLost(RmaPeer Peer, string Reason);
