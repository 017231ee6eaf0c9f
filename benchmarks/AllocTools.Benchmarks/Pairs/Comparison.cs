namespace AllocTools.Benchmarks.Pairs;

/// <summary>A row of the report.</summary>
/// <param name="Name">What is done.</param>
/// <param name="Own">This library's side.</param>
/// <param name="PeerName">Who it is held against.</param>
/// <param name="Peer">The other side.</param>
/// <param name="Goal">The ratio own / peer that the median is to stay at or below; null: shown only.</param>
internal sealed record Comparison(string Name, Func<IWorkload> Own, string PeerName, Func<IWorkload> Peer, double? Goal = null)
{
    /// <summary>In place of a ratio: the most that the median of own - peer is to be, in ns.</summary>
    public double? DifferenceGoal { get; init; }

    /// <summary>What both sides need besides, whose time is taken off both.</summary>
    public Func<IWorkload>? Overhead { get; init; }

    /// <summary>What goes on meanwhile, beside both sides.</summary>
    public Func<IDisposable>? Beside { get; init; }
}
