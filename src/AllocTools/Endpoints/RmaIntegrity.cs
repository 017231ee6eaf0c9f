namespace AllocTools.Endpoints;

/// <summary>The check value by which damaged bytes are found.</summary>
/// <remarks>
/// It finds accidents: bits that were flipped by a link, an adapter, a cable or memory. It is not a signature, because
/// a person who changes the bytes on purpose can compute it anew. The values are in the order of their strength.
/// </remarks>
public enum RmaIntegrity
{
    /// <summary>There is none. The transport's own checks apply.</summary>
    None,

    /// <summary>
    /// CRC-32C (Castagnoli) as in iSCSI, 32 bits, computed by the processor's own instructions. It finds all errors of
    /// up to 3 bits in 256 MiB and all bursts of up to 32 bits, and misses one of 4 billion others.
    /// </summary>
    Crc32C,

    /// <summary>XXH3, 64 bits. It is faster for long data, and misses one of 18 quintillion errors.</summary>
    XxHash3,
}
