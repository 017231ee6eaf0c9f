namespace AllocTools.Benchmarks.Pairs;

/// <summary>What alternating runs of both sides gave.</summary>
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

    /// <summary>Median, ns an operation.</summary>
    public double Own { get; }

    /// <summary>Median, ns an operation.</summary>
    public double Peer { get; }

    /// <summary>The median of own - peer, ns an operation.</summary>
    public double Difference { get; }

    /// <summary>Bytes allocated an operation by this library's side.</summary>
    public double OwnBytes { get; init; }

    /// <summary>The median of the runs' 99th percentiles, ns an operation; 0: not measured.</summary>
    public double OwnTail { get; init; }

    /// <summary>As <see cref="OwnTail"/>.</summary>
    public double PeerTail { get; init; }

    /// <summary>The median of the pairs' ratios.</summary>
    public double Ratio => Median(_ratios);

    /// <summary>The 95 % interval of the median: order statistics, so of no assumed distribution.</summary>
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
