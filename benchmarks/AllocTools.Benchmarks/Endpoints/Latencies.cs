using System.Diagnostics;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The time that each operation of a run took; the operations ran one after the other.</summary>
internal sealed class Latencies
{
    private long[] _times = [];
    private int _count;
    private long _last;

    /// <summary>The 99th percentile of the last run, in ns; 0 if the loop measured none.</summary>
    public long Tail
    {
        get
        {
            Span<long> times = _times.AsSpan(0, _count);
            times.Sort();
            return _count == 0 ? 0 : (long)(times[(int)(0.99 * _count)] * (1e9 / Stopwatch.Frequency));
        }
    }

    /// <summary>Prepares for a number of operations; the first one starts now.</summary>
    public void Start(int operations)
    {
        if (_times.Length < operations)
            _times = new long[operations];
        _count = 0;
        _last = Stopwatch.GetTimestamp();
    }

    /// <summary>Notes that an operation has ended; the next one starts now.</summary>
    public void Add()
    {
        long now = Stopwatch.GetTimestamp();
        _times[_count++] = now - _last;
        _last = now;
    }
}
