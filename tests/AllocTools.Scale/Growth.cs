namespace AllocTools.Scale;

/// <summary>The cost of an operation among N: the medians of several rounds.</summary>
/// <param name="N">The number N.</param>
/// <param name="Nanoseconds">The thread's processor time per operation.</param>
/// <param name="Fastest">The time of the fastest round.</param>
/// <param name="Bytes">The bytes that an operation allocates on the managed heap.</param>
internal readonly record struct Cost(int N, double Nanoseconds, double Fastest, double Bytes);

/// <summary>The cost of an operation as N grows.</summary>
internal sealed record Growth(string Name, string Among, IReadOnlyList<Cost> Costs)
{
    /// <summary>Gets the e of cost = c × N^e that fits the measurements best, by least squares of the logarithms.</summary>
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

    /// <summary>
    /// Gets how many times as much an operation costs with the largest N as with the smallest, by the fastest rounds.
    /// </summary>
    public double Factor => Costs[^1].Fastest / Costs[0].Fastest;
}
