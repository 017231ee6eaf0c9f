namespace AllocTools.Soak;

/// <summary>Something that must stay flat.</summary>
/// <param name="Name">What it is, for people.</param>
/// <param name="IsBytes">The unit is bytes; else it is a count.</param>
/// <param name="Settling">By how much it may grow in a run of any length, besides <see cref="Share"/> of its level: what a runtime still allocates while it settles.</param>
/// <param name="Read">Takes it from a sample.</param>
internal sealed record Measure(string Name, bool IsBytes, double Settling, Func<Sample, double> Read)
{
    /// <summary>The part of its level by which a measure may grow in a run, however long that is.</summary>
    public const double Share = 0.05;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Measure> All { get; } =
    [
        new("managed heap", true, 1 << 20, static s => s.ManagedBytes),
        new("native heap", true, 2 << 20, static s => s.NativeBytes),
        new("resident", true, 16 << 20, static s => s.ResidentBytes),
        new("mapped", true, 16 << 20, static s => s.MappedBytes),
        new("descriptors", false, 2, static s => s.Descriptors),
        new("threads", false, 4, static s => s.Threads),
        new("registrations", false, 0, static s => s.Registrations),
        new("rented, exposed", false, 0, static s => s.Held),
        new("connections", false, 0, static s => s.Connections),
        new("registered", true, 0, static s => s.RegisteredBytes),
    ];

    /// <summary>Judges a series.</summary>
    public Verdict Judge(string process, IReadOnlyList<Sample> samples)
    {
        Trend trend = Trend.Fit([.. samples.Select(s => (s.Time, Read(s)))]);
        return new Verdict(process, this, trend, Share * trend.Level + Settling);
    }
}

/// <summary>What a series of a measure shows.</summary>
/// <param name="Process">Whose it is.</param>
/// <param name="Measure">What was measured.</param>
/// <param name="Trend">The line through it.</param>
/// <param name="Allowance">By how much it may have grown in the time that was judged.</param>
internal sealed record Verdict(string Process, Measure Measure, Trend Trend, double Allowance)
{
    /// <summary>It does not grow: what is certain of its growth is within the allowance.</summary>
    public bool IsFlat => Trend.CertainGrowth <= Allowance;

    /// <summary>How much of it comes with each cycle.</summary>
    public double PerCycle => Trend.Growth / (Trend.Count - 1);
}
