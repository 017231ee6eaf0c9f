namespace AllocTools.MultiRail;

/// <summary>Whether a rail to a peer carries stripes.</summary>
public enum RmaRailState
{
    /// <summary>It does, or may.</summary>
    Up,

    /// <summary>An operation over it has failed or did not end in time. It is tried again after delays that grow.</summary>
    Down,
}
