using System.Globalization;

namespace AllocTools.Validation;

/// <summary>The range of a whole number.</summary>
/// <param name="least">The least that is right.</param>
/// <param name="most">The most that is right.</param>
/// <param name="unit">What it counts.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionRangeAttribute(long least, long most, string unit) : OptionAttribute
{
    /// <summary>The unit of sizes.</summary>
    public const string Bytes = "bytes";

    /// <summary>The least that is right.</summary>
    public long Least { get; } = least;

    /// <summary>The most that is right.</summary>
    public long Most { get; } = most;

    /// <summary>What it counts; may be empty.</summary>
    public string Unit { get; } = unit;

    /// <summary>It is a multiple of this.</summary>
    public long Multiple { get; init; } = 1;

    /// <summary>What the least stands for, where it is no number of units.</summary>
    public string? LeastMeans { get; init; }

    /// <inheritdoc/>
    public override string Range =>
        $"{(LeastMeans is null ? Least : Least + 1)} to {Most}"
        + (Unit.Length == 0 ? "" : $" {Unit}")
        + (Multiple == 1 ? "" : $", a multiple of {Multiple}")
        + (LeastMeans is null ? "" : $", or {Least} for {LeastMeans}");

    /// <inheritdoc/>
    protected override string Rule
    {
        get
        {
            long first = LeastMeans is null ? Least : Least + 1;
            string range = $"between {InWords.Number(first)} and {InWords.Number(Most)}";
            if (Unit == Bytes)
                range += $" bytes ({InWords.Bytes(first)} and {InWords.Bytes(Most)})";
            else if (Unit.Length != 0)
                range += $" {Unit}";
            return range + (Multiple == 1 ? "" : $", and a multiple of {Multiple}") + (LeastMeans is null ? "" : $", or {Least} for {LeastMeans}");
        }
    }

    /// <inheritdoc/>
    protected override string Describe(object value) => InWords.Number(Convert.ToInt64(value, CultureInfo.InvariantCulture));

    /// <inheritdoc/>
    protected override bool Holds(object value)
    {
        long number = Convert.ToInt64(value, CultureInfo.InvariantCulture);
        return number >= Least && number <= Most && number % Multiple == 0;
    }
}
