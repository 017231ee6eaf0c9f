using AllocTools.Validation;

namespace AllocTools;

/// <summary>Size classes from a smallest to a largest block, with a fixed number of equal steps per doubling.</summary>
/// <remarks>
/// With 4 steps from a multiple of 256 bytes, a block is at most a quarter longer than the one before: less than a
/// fifth of a block is unused, except by requests that are shorter than <see cref="From"/>.
/// </remarks>
public sealed class SizeClassRangeOptions
{
    private const int Granule = 64;

    /// <summary>The smallest block. Unit: bytes. Range: 64 B to 1 GiB, a multiple of 64. Default: 256.</summary>
    [OptionRange(Granule, 1L << 30, "bytes", Multiple = Granule)]
    public long From { get; set; } = 256;

    /// <summary>
    /// The largest block; the last class is the last step that does not exceed it. Unit: bytes. Range:
    /// <see cref="From"/> to 1 GiB. Default: 4 MiB.
    /// </summary>
    [OptionRange(Granule, 1L << 30, "bytes")]
    public long To { get; set; } = 4 << 20;

    /// <summary>
    /// How many classes there are from a size to twice that size. Range: 1 to 8; there are fewer if a step would be
    /// shorter than 64 bytes. Default: 4.
    /// </summary>
    [OptionRange(1, 8, "steps")]
    public int StepsPerDoubling { get; set; } = 4;

    internal SizeClassRangeOptions Copy() => (SizeClassRangeOptions)MemberwiseClone();

    /// <summary>Returns the classes, in ascending order, with no blocks at start.</summary>
    /// <exception cref="InvalidOperationException">An option is out of its range.</exception>
    public IReadOnlyList<SizeClassOptions> ToSizeClasses()
    {
        if (From is < Granule or > 1L << 30 || From % Granule != 0 || To < From || To > 1L << 30 || StepsPerDoubling is < 1 or > 8)
            throw new InvalidOperationException($"Size classes from {From} to {To} in {StepsPerDoubling} steps a doubling can't be made: From must be a multiple of {Granule} between {Granule} and 1 GiB, To between From and 1 GiB, and the steps between 1 and 8.");
        List<SizeClassOptions> classes = [];
        for (long start = From; start <= To; start *= 2)
        {
            for (int step = 0; step < StepsPerDoubling; step++)
            {
                long size = start + (start * step / StepsPerDoubling / Granule * Granule);
                if (size <= To && (classes.Count == 0 || size > classes[^1].BlockSize))
                    classes.Add(new SizeClassOptions { BlockSize = size });
            }
        }
        return classes;
    }
}
