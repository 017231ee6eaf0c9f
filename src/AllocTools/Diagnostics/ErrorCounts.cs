namespace AllocTools.Diagnostics;

/// <summary>Counts failures, or bytes, by the kind of error.</summary>
internal sealed class ErrorCounts
{
    /// <summary>The maximum number of distinguished kinds, so that metrics don't grow with use.</summary>
    private const int MostKinds = 32;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, long> _counts = new(StringComparer.Ordinal);

    public void Count(string errorType, long amount = 1)
    {
        lock (_gate)
        {
            string kind = _counts.Count < MostKinds || _counts.ContainsKey(errorType) ? errorType : RmaTags.OtherError;
            _counts[kind] = _counts.GetValueOrDefault(kind) + amount;
        }
    }

    public IReadOnlyDictionary<string, long> Snapshot()
    {
        lock (_gate)
            return new Dictionary<string, long>(_counts);
    }
}
