namespace AllocTools;

/// <summary>What registered memory may be used for (the access argument of fi_mr(3)).</summary>
[Flags]
public enum RmaAccess
{
    /// <summary>No access.</summary>
    None = 0,

    /// <summary>Source and target of this process's own operations. Every registration has it.</summary>
    Local = 1,

    /// <summary>Peers that hold the key may read it.</summary>
    RemoteRead = 2,

    /// <summary>Peers that hold the key may write it.</summary>
    RemoteWrite = 4,
}
