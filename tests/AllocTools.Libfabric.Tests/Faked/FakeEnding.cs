namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>How the fake's operations end when their initiator polls. The order is that of <c>enum completion</c>.</summary>
internal enum FakeEnding
{
    /// <summary>They complete.</summary>
    AtOnce,

    /// <summary>They do not complete until this is changed.</summary>
    Held,

    /// <summary>They end with an error, and have no effect.</summary>
    Failed,

    /// <summary>
    /// They end with success, whether or not the target has allowed them and they are done: tcp;ofi_rxm behaves like
    /// this.
    /// </summary>
    Blindly,
}
