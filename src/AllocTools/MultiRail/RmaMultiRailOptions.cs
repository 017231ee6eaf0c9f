using AllocTools.Validation;

namespace AllocTools.MultiRail;

/// <summary>Options of an <see cref="RmaMultiRail"/>.</summary>
public sealed class RmaMultiRailOptions
{
    /// <summary>The rails, if the multi-rail is added to a service collection: the first is the preferred one.</summary>
    public IList<RmaRailOptions> Rails { get; } = [];

    /// <summary>How transfers use the rails. Default: <see cref="RmaRailPolicy.Stripe"/>.</summary>
    [OptionChoice(typeof(RmaRailPolicy))]
    public RmaRailPolicy Policy { get; set; } = RmaRailPolicy.Stripe;

    /// <summary>
    /// The length of a stripe, the smallest part of a transfer that goes over a rail of its own; shorter
    /// transfers use one rail. Unit: bytes. Range: 4 KiB to 1 GiB. Default: 256 KiB.
    /// </summary>
    [OptionRange(4 << 10, 1 << 30, "bytes")]
    public long StripeLength { get; set; } = 256 << 10;

    /// <summary>How many stripes of all transfers together are in progress at a time to one peer on one rail. Range: 1 to 256. Default: 4.</summary>
    [OptionRange(1, 256, "stripes")]
    public int StripesPerRail { get; set; } = 4;

    /// <summary>
    /// How long a stripe may take before its rail counts as down. It must be longer than a rail needs for
    /// StripesPerRail stripes. Range: 10 ms to 1 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(10, 60 * 60 * 1000)]
    public TimeSpan StripeTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How long a transfer may take, including the time in which no rail is up.
    /// Range: 10 ms to 24 h, or -1 ms for no limit. Default: 30 s.
    /// </summary>
    [OptionTimeRange(10, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan TransferTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>The delay before a rail that is down is tried again. Each further delay is twice as long. Range: 1 ms to 1 h. Default: 100 ms.</summary>
    [OptionTimeRange(1, 60 * 60 * 1000)]
    public TimeSpan Delay { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The longest delay. Range: 1 ms to 1 h; at least Delay. Default: 30 s.</summary>
    [OptionTimeRange(1, 60 * 60 * 1000)]
    public TimeSpan MaxDelay { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long bytes of a write may still arrive after its rail was closed, from the network or from the
    /// peer's queues. After a write whose stripes were repeated, later writes to the same bytes wait that long.
    /// Range: 0 to 1 h. Default: 2 s.
    /// </summary>
    [OptionTimeRange(0, 60 * 60 * 1000)]
    public TimeSpan LateWriteTime { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Returns a copy.</summary>
    internal RmaMultiRailOptions Copy() => (RmaMultiRailOptions)MemberwiseClone();
}

/// <summary>A rail of a multi-rail in a service collection.</summary>
public sealed class RmaRailOptions
{
    /// <summary>The rail's name, 1 to 64 printable ASCII characters; the same on both sides. Required.</summary>
    public string? Name { get; set; }

    /// <summary>The name of its pool, which was added with <c>AddRmaMemoryPool</c>. Default: the unnamed pool.</summary>
    public string Pool { get; set; } = RmaMemoryPoolName.Default;
}
