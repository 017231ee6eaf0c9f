namespace AllocTools.Endpoints;

/// <summary>Whether an endpoint's operations can complete.</summary>
public enum RmaEndpointState
{
    /// <summary>Operations can complete.</summary>
    Open = 0,

    /// <summary>A call into the transport does not return. Operations time out until it does.</summary>
    Stuck = 1,

    /// <summary>The transport reported an error that ends all progress. Operations fail, and another endpoint must be opened.</summary>
    Failed = 2,

    /// <summary>The endpoint is closed.</summary>
    Closed = 3,
}
