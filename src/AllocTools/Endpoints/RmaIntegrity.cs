namespace AllocTools.Endpoints;

/// <summary>The kind of check value that detects damaged bytes.</summary>
/// <remarks>
/// A check value detects accidents: bits that were flipped by a link, an adapter, a cable or memory. It is not a
/// signature, because anyone who changes the bytes on purpose can recompute it. The values are in order of strength.
/// </remarks>
public enum RmaIntegrity
{
    /// <summary>No check value. Only the transport's own checks apply.</summary>
    None,

    /// <summary>
    /// CRC-32C (Castagnoli) as in iSCSI, 32 bits, computed by the processor's own instructions. It finds all errors of
    /// up to 3 bits in 256 MiB and all bursts of up to 32 bits, and misses one in 4 billion of the others.
    /// </summary>
    Crc32C,

    /// <summary>XXH3, 64 bits. It is faster for long data, and misses one in 18 quintillion errors.</summary>
    XxHash3,
}
