namespace AllocTools.MultiRail;

/// <summary>How transfers use the rails.</summary>
public enum RmaRailPolicy
{
    /// <summary>All rails that are up carry the stripes of a transfer; a faster one takes more of them.</summary>
    Stripe,

    /// <summary>The first rail that is up, in the given order, carries all stripes; the others are in reserve.</summary>
    Failover,
}
