namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>How the fake's operations end once their initiator looks. The order is that of <c>enum completion</c>.</summary>
internal enum FakeEnding
{
    /// <summary>They are done.</summary>
    AtOnce,

    /// <summary>Not before this is changed.</summary>
    Held,

    /// <summary>With an error, and nothing is done.</summary>
    Failed,

    /// <summary>As if they were done, and nothing is: tcp;ofi_rxm answers like this where the target refuses.</summary>
    Undone,
}
