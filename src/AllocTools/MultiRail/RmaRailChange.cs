namespace AllocTools.MultiRail;

/// <summary>The state of a rail to a peer has changed; see <see cref="RmaMultiRail.ReadRailChangesAsync"/>.</summary>
/// <param name="Rail">The rail's name.</param>
/// <param name="Peer">The peer.</param>
/// <param name="State">Its state from now on.</param>
/// <param name="Reason">Why, in words.</param>
public sealed record RmaRailChange(string Rail, RmaRailPeer Peer, RmaRailState State, string Reason);
