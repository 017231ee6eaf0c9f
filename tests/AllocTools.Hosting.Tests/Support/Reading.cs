namespace AllocTools.Hosting.Tests.Support;

/// <summary>One value of an instrument.</summary>
/// <param name="Instrument">Its name and unit.</param>
/// <param name="Tags">Its tags, in the order of their names.</param>
/// <param name="Value">The value.</param>
internal sealed record Reading(string Instrument, string Tags, long Value) : IComparable<Reading>
{
    private const string PoolTag = "rma.pool.name=";

    /// <summary>The pool that it is of.</summary>
    public string Pool => Tags.Split(' ').Single(t => t.StartsWith(PoolTag, StringComparison.Ordinal))[PoolTag.Length..];

    public static Reading Of(string instrument, long value, IEnumerable<KeyValuePair<string, object?>> tags) =>
        new(instrument, string.Join(' ', tags.Select(t => $"{t.Key}={t.Value}").Order(StringComparer.Ordinal)), value);

    public int CompareTo(Reading? other) => string.CompareOrdinal(ToString(), other?.ToString());
}
