namespace AllocTools.Benchmarks.Pairs;

/// <summary>The results of alternating runs of both sides.</summary>
internal sealed class PairedResult
{
    private readonly double[] _ratios;

    public PairedResult(double[] ownNanoseconds, double[] peerNanoseconds)
    {
        _ratios = [.. ownNanoseconds.Zip(peerNanoseconds, (own, peer) => own / peer).Order()];
        Difference = Median(ownNanoseconds.Zip(peerNanoseconds, (own, peer) => own - peer));
        Own = Median(ownNanoseconds);
        Peer = Median(peerNanoseconds);
    }

    /// <summary>The median of this library's side, in ns per operation.</summary>
    public double Own { get; }

    /// <summary>The median of the other side, in ns per operation.</summary>
    public double Peer { get; }

    /// <summary>The median of own - peer, in ns per operation.</summary>
    public double Difference { get; }

    /// <summary>The bytes that this library's side allocated per operation.</summary>
    public double OwnBytes { get; init; }

    /// <summary>The median of the 99th percentiles of this library's runs, in ns per operation; 0 if they were not measured.</summary>
    public double OwnTail { get; init; }

    /// <summary>The same as <see cref="OwnTail"/>, for the other side.</summary>
    public double PeerTail { get; init; }

    /// <summary>The median of the pairs' ratios.</summary>
    public double Ratio => Median(_ratios);

    /// <summary>The 95 % interval of the median. It is based on order statistics, so it assumes no distribution.</summary>
    public (double Low, double High) Interval
    {
        get
        {
            double half = 1.96 * Math.Sqrt(_ratios.Length) / 2;
            int low = Math.Max(0, (int)Math.Floor(_ratios.Length / 2.0 - half));
            return (_ratios[low], _ratios[_ratios.Length - 1 - low]);
        }
    }

    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[sorted.Length / 2 - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
