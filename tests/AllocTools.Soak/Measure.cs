namespace AllocTools.Soak;

/// <summary>Something that must stay flat.</summary>
/// <param name="Name">What it is, for people.</param>
/// <param name="IsBytes">The unit is bytes; else it is a count.</param>
/// <param name="Settling">By how much it may grow in a run of any length, besides <see cref="Share"/> of its level: what a runtime still allocates while it settles.</param>
/// <param name="Read">Takes it from a sample.</param>
/// <param name="Kept">What the buffers that live at a sample may keep of it; null where they do not decide.</param>
/// <remarks>
/// How much of the pool's memory is registered at rest depends on where the load has left the buffers that live: three may share a slab, or keep one each. So what they can keep is
/// not judged, however it changes. What lives is the fewest buffers that lived at any sample: otherwise a leak of buffers would raise its own bound.
/// </remarks>
internal sealed record Measure(string Name, bool IsBytes, double Settling, Func<Sample, double> Read, Func<Sample, double>? Kept = null)
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
        new("registrations", false, 0, static s => s.Registrations, static s => s.KeptRegistrations),
        new("rented, exposed", false, 0, static s => s.Held),
        new("connections", false, 0, static s => s.Connections),
        new("registered", true, 0, static s => s.RegisteredBytes, static s => s.KeptBytes),
    ];

    /// <summary>Judges a series.</summary>
    public Verdict Judge(string process, IReadOnlyList<Sample> samples)
    {
        Trend trend = Trend.Fit([.. samples.Select(s => (s.Time, Read(s)))]);
        if (Kept is null)
            return new Verdict(process, this, trend, trend, null, Share * trend.Level + Settling);
        double kept = samples.Min(Kept);
        Trend beyond = Trend.Fit([.. samples.Select(s => (s.Time, Math.Max(0, Read(s) - kept)))]);
        return new Verdict(process, this, trend, beyond, kept, Share * beyond.Level + Settling);
    }
}

/// <summary>What a series of a measure shows.</summary>
/// <param name="Process">Whose it is.</param>
/// <param name="Measure">What was measured.</param>
/// <param name="Trend">The line through it.</param>
/// <param name="Judged">The line that is judged: that through all of it, or through what is beyond <paramref name="Kept"/>.</param>
/// <param name="Kept">What the buffers that live may keep of it; null where they do not decide.</param>
/// <param name="Allowance">By how much it may have grown in the time that was judged.</param>
internal sealed record Verdict(string Process, Measure Measure, Trend Trend, Trend Judged, double? Kept, double Allowance)
{
    /// <summary>It does not grow: what is certain of its growth is within the allowance.</summary>
    public bool IsFlat => Judged.CertainGrowth <= Allowance;

    /// <summary>How much of it comes with each cycle.</summary>
    public double PerCycle => Trend.Growth / (Trend.Count - 1);
}
