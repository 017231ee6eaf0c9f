namespace AllocTools.Endpoints.Engine;

/// <summary>Why a peer is lost.</summary>
internal sealed record PeerLoss(string Reason, int Error);
