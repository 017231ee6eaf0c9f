namespace AllocTools.Benchmarks.Pairs;

/// <summary>A row of the report.</summary>
/// <param name="Name">The name of the operation.</param>
/// <param name="Own">This library's side.</param>
/// <param name="PeerName">The name of the other side.</param>
/// <param name="Peer">The other side.</param>
/// <param name="Goal">The maximum of the median ratio own / peer; null if it is only shown.</param>
internal sealed record Comparison(string Name, Func<IWorkload> Own, string PeerName, Func<IWorkload> Peer, double? Goal = null)
{
    /// <summary>A goal in place of a ratio: the maximum of the median of own - peer, in ns.</summary>
    public double? DifferenceGoal { get; init; }

    /// <summary>The additional work of both sides, whose time is subtracted from both.</summary>
    public Func<IWorkload>? Overhead { get; init; }

    /// <summary>Starts an activity that continues during the measurement of both sides.</summary>
    public Func<IDisposable>? Beside { get; init; }
}
