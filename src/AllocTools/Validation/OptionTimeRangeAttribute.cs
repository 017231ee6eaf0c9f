namespace AllocTools.Validation;

/// <summary>The range of a time.</summary>
/// <param name="leastMilliseconds">The shortest that is right.</param>
/// <param name="mostMilliseconds">The longest that is right.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionTimeRangeAttribute(int leastMilliseconds, int mostMilliseconds) : OptionAttribute
{
    /// <summary>The longest time-out and interval of all: 24 hours.</summary>
    public const int Day = 24 * 60 * 60 * 1000;

    /// <summary>The shortest that is right.</summary>
    public TimeSpan Least { get; } = TimeSpan.FromMilliseconds(leastMilliseconds);

    /// <summary>The longest that is right.</summary>
    public TimeSpan Most { get; } = TimeSpan.FromMilliseconds(mostMilliseconds);

    /// <summary>What -1 ms (<see cref="Timeout.InfiniteTimeSpan"/>) stands for, where it is right.</summary>
    public string? InfiniteMeans { get; init; }

    /// <inheritdoc/>
    public override string Expected => $"{InWords(Least)} to {InWords(Most)}" + (InfiniteMeans is null ? "" : $", or -00:00:00.001 for {InfiniteMeans}");

    /// <inheritdoc/>
    protected override bool Holds(object value) =>
        (TimeSpan)value is var time && ((time >= Least && time <= Most) || (InfiniteMeans is not null && time == Timeout.InfiniteTimeSpan));

    private static string InWords(TimeSpan time) =>
        time.Ticks == 0 ? "0"
        : time < TimeSpan.FromSeconds(1) ? $"{time.TotalMilliseconds} ms"
        : time < TimeSpan.FromHours(1) ? $"{time.TotalSeconds} s"
        : $"{time.TotalHours} hours";
}
