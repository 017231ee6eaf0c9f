namespace AllocTools.Soak;

/// <summary>A value that must stay flat.</summary>
/// <param name="Name">Its name, for people.</param>
/// <param name="IsBytes">Whether the unit is bytes; otherwise it is a count.</param>
/// <param name="Settling">How much it may grow in a run of any length, in addition to <see cref="Share"/> of its level:
/// what a runtime still allocates while it settles.</param>
/// <param name="Read">Gets the value from a sample.</param>
/// <param name="Kept">Gets how much of it the live buffers of a sample may keep; null if they have no influence.</param>
/// <remarks>
/// How much of the pool's memory is registered at rest depends on where the load has left the live buffers: three may
/// share a slab, or keep one each. So the amount that they can keep is not judged, however it changes. It is taken from
/// the sample where it is smallest: otherwise a leak of buffers would raise its own bound.
/// </remarks>
internal sealed record Measure(string Name, bool IsBytes, double Settling, Func<Sample, double> Read, Func<Sample, double>? Kept = null)
{
    /// <summary>The part of its level by which a measure may grow in a run, however long the run is.</summary>
    public const double Share = 0.05;

    /// <summary>Gets all measures.</summary>
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

/// <summary>The result of judging a series of a measure.</summary>
/// <param name="Process">The process that was measured.</param>
/// <param name="Measure">The measure.</param>
/// <param name="Trend">The line through the series.</param>
/// <param name="Judged">The line that is judged: the one through the whole series, or through the part beyond
/// <paramref name="Kept"/>.</param>
/// <param name="Kept">How much of it the live buffers may keep; null if they have no influence.</param>
/// <param name="Allowance">How much it may have grown in the judged time.</param>
internal sealed record Verdict(string Process, Measure Measure, Trend Trend, Trend Judged, double? Kept, double Allowance)
{
    /// <summary>Gets whether it does not grow: the certain part of its growth is within the allowance.</summary>
    public bool IsFlat => Judged.CertainGrowth <= Allowance;

    /// <summary>Gets the growth per cycle.</summary>
    public double PerCycle => Trend.Growth / (Trend.Count - 1);
}
