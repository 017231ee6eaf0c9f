using AllocTools.Validation;

namespace AllocTools;

/// <summary>One size class: equal blocks, cut from registered slabs.</summary>
public sealed class SizeClassOptions
{
    /// <summary>The size of a block. It must be set. Unit: bytes. Range: 64 B to 1 GiB, a multiple of 64.</summary>
    [OptionRange(64, 1L << 30, "bytes", Multiple = 64)]
    public long BlockSize { get; set; }

    /// <summary>
    /// How many blocks are registered when the pool warms up, and stay registered. Range: 0 to 16,777,216. Default: 0
    /// (on demand).
    /// </summary>
    [OptionRange(0, 1 << 24, "blocks")]
    public int InitialBlocks { get; set; }

    internal SizeClassOptions Copy() => (SizeClassOptions)MemberwiseClone();
}
