namespace AllocTools.MultiRail;

/// <summary>Which bytes a transfer moves.</summary>
/// <param name="LocalOffset">Bytes from the start of the local memory.</param>
/// <param name="RemoteOffset">Bytes from the start of the peer's memory.</param>
/// <param name="Length">The number of bytes.</param>
public readonly record struct RmaRailRange(long LocalOffset, long RemoteOffset, long Length);
