namespace AllocTools;

/// <summary>The operations for which registered memory may be used (the access argument of fi_mr(3)).</summary>
[Flags]
public enum RmaAccess
{
    /// <summary>No access.</summary>
    None = 0,

    /// <summary>The memory may be the source and target of this process's own operations. Every registration includes this.</summary>
    Local = 1,

    /// <summary>Peers that have the key may read the memory.</summary>
    RemoteRead = 2,

    /// <summary>Peers that have the key may write to the memory.</summary>
    RemoteWrite = 4,
}
