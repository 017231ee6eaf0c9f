namespace AllocTools.MultiRail;

/// <summary>Whether a rail to a peer carries stripes.</summary>
public enum RmaRailState
{
    /// <summary>The rail carries stripes, or is ready to.</summary>
    Up,

    /// <summary>An operation over the rail has failed or did not end in time. The rail is retried after growing delays.</summary>
    Down,
}
