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

    /// <summary>With success, whether the target has allowed it and it is done or not: tcp;ofi_rxm is like this.</summary>
    Blindly,
}
