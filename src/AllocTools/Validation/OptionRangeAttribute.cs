using System.Globalization;

namespace AllocTools.Validation;

/// <summary>The range of a whole number.</summary>
/// <param name="least">The lowest valid value.</param>
/// <param name="most">The highest valid value.</param>
/// <param name="unit">The unit.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionRangeAttribute(long least, long most, string unit) : OptionAttribute
{
    /// <summary>The unit of sizes.</summary>
    public const string Bytes = "bytes";

    /// <summary>The lowest valid value.</summary>
    public long Least { get; } = least;

    /// <summary>The highest valid value.</summary>
    public long Most { get; } = most;

    /// <summary>The unit; may be empty.</summary>
    public string Unit { get; } = unit;

    /// <summary>The value must be a multiple of this.</summary>
    public long Multiple { get; init; } = 1;

    /// <summary>The meaning of the lowest value, if it does not stand for a number of units.</summary>
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
