namespace AllocTools.Scale;

/// <summary>What an operation costs among N: the medians of several rounds.</summary>
/// <param name="N">How many there are.</param>
/// <param name="Nanoseconds">Processor time of the thread, for an operation.</param>
/// <param name="Fastest">The fastest round's.</param>
/// <param name="Bytes">What an operation allocates on the managed heap.</param>
internal readonly record struct Cost(int N, double Nanoseconds, double Fastest, double Bytes);

/// <summary>What an operation costs as N grows.</summary>
internal sealed record Growth(string Name, string Among, IReadOnlyList<Cost> Costs)
{
    /// <summary>The e of cost = c × N^e that is nearest to what was measured, by least squares of the logarithms.</summary>
    public double Exponent
    {
        get
        {
            (double x, double y)[] points = [.. Costs.Select(static c => (Math.Log(c.N), Math.Log(c.Nanoseconds)))];
            if (points.Length < 2)
                return 0;
            (double meanX, double meanY) = (points.Average(static p => p.x), points.Average(static p => p.y));
            return points.Sum(p => (p.x - meanX) * (p.y - meanY)) / points.Sum(p => (p.x - meanX) * (p.x - meanX));
        }
    }

    /// <summary>How many times as much an operation costs among the most as among the fewest, by the fastest rounds.</summary>
    public double Factor => Costs[^1].Fastest / Costs[0].Fastest;
}
