using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace AllocTools.Stress.Tests;

/// <summary>
/// The work of a thread: it rents, writes its own pattern over the whole buffer, and returns it or leaves it to others,
/// which check the pattern.
/// </summary>
internal sealed class Mixer(IRmaMemoryPool pool, ConcurrentQueue<(RmaBuffer Buffer, long Pattern)> handedOver, int seed)
{
    private static readonly long[] Sizes = [8, 1000, 1024, 9000, 16 << 10, 60_000, 64 << 10, 200_000, 300_000];
    private static long s_pattern;

    private readonly Random _random = new(seed);
    private readonly List<(RmaBuffer Buffer, long Pattern)> _own = [];

    public long Rents { get; private set; }

    public long Rejections { get; private set; }

    public void Run(int steps)
    {
        for (int i = 0; i < steps; i++)
            Step();
        foreach ((RmaBuffer buffer, long pattern) in _own)
            Return(buffer, pattern);
        _own.Clear();
    }

    public static void Return(RmaBuffer buffer, long pattern)
    {
        Span<long> words = MemoryMarshal.Cast<byte, long>(buffer.Span);
        if (words.ContainsAnyExcept(pattern))
            throw new InvalidOperationException("A block was handed out twice: its pattern is not the one that its owner wrote.");
        buffer.Dispose();
    }

    private void Step()
    {
        switch (_random.Next(8))
        {
            case < 4:
                if (pool.TryRent(Sizes[_random.Next(Sizes.Length)], out RmaBuffer rented))
                {
                    Rents++;
                    long pattern = Interlocked.Increment(ref s_pattern);
                    MemoryMarshal.Cast<byte, long>(rented.Span).Fill(pattern);
                    _own.Add((rented, pattern));
                }
                else
                {
                    Rejections++;
                }
                break;
            case 4:
                if (handedOver.TryDequeue(out (RmaBuffer Buffer, long Pattern) others))
                    Return(others.Buffer, others.Pattern);
                break;
            case 5 when _own.Count > 0:
                handedOver.Enqueue(TakeOwn());
                break;
            default:
                if (_own.Count > 0)
                {
                    (RmaBuffer buffer, long pattern) = TakeOwn();
                    Return(buffer, pattern);
                }
                break;
        }
    }

    private (RmaBuffer Buffer, long Pattern) TakeOwn()
    {
        int at = _random.Next(_own.Count);
        (RmaBuffer, long) taken = _own[at];
        _own[at] = _own[^1];
        _own.RemoveAt(_own.Count - 1);
        return taken;
    }
}
