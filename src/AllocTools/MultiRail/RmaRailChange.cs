namespace AllocTools.MultiRail;

/// <summary>Reports that the state of a rail to a peer has changed; see <see cref="RmaMultiRail.ReadRailChangesAsync"/>.</summary>
/// <param name="Rail">The rail's name.</param>
/// <param name="Peer">The peer.</param>
/// <param name="State">The new state.</param>
/// <param name="Reason">The reason, as text.</param>
public sealed record RmaRailChange(string Rail, RmaRailPeer Peer, RmaRailState State, string Reason);
