namespace AllocTools.Validation;

/// <summary>The range of a time.</summary>
/// <param name="leastMilliseconds">The shortest valid time.</param>
/// <param name="mostMilliseconds">The longest valid time.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionTimeRangeAttribute(int leastMilliseconds, int mostMilliseconds) : OptionAttribute
{
    /// <summary>The longest time-out and interval of all: 24 hours.</summary>
    public const int Day = 24 * 60 * 60 * 1000;

    /// <summary>The shortest valid time.</summary>
    public TimeSpan Least { get; } = TimeSpan.FromMilliseconds(leastMilliseconds);

    /// <summary>The longest valid time.</summary>
    public TimeSpan Most { get; } = TimeSpan.FromMilliseconds(mostMilliseconds);

    /// <summary>The meaning of -1 ms (<see cref="Timeout.InfiniteTimeSpan"/>), if it is valid.</summary>
    public string? InfiniteMeans { get; init; }

    /// <inheritdoc/>
    public override string Range => $"{InWords.Time(Least)} to {InWords.Time(Most)}" + OrInfinite;

    /// <inheritdoc/>
    protected override string Rule => $"between {InWords.Time(Least)} and {InWords.Time(Most)}" + OrInfinite;

    private string OrInfinite => InfiniteMeans is null ? "" : InfiniteMeans == "never" ? ", or \"never\"" : $", or \"never\" for {InfiniteMeans}";

    /// <inheritdoc/>
    protected override string Describe(object value) => InWords.Time((TimeSpan)value);

    /// <inheritdoc/>
    protected override bool Holds(object value) =>
        (TimeSpan)value is var time && ((time >= Least && time <= Most) || (InfiniteMeans is not null && time == Timeout.InfiniteTimeSpan));
}
