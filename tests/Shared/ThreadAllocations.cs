using Xunit;

namespace AllocTools.Testing;

/// <summary>
/// Measures what a thread allocates between <see cref="Begin"/> and <see cref="End"/>, over several identical rounds.
/// </summary>
/// <remarks>
/// A garbage collection, caused by other tests, counts the rest of each thread's allocation buffer as allocated, so a
/// round in which one has happened is ignored. Background collections would stop threads once more without being
/// counted, so the tests run without them (Directory.Build.props).
/// </remarks>
public sealed class ThreadAllocations
{
    private int _collections;
    private long _before;
    private long _bytes;
    private int _rounds;

    public void Begin()
    {
        _collections = GC.CollectionCount(0);
        _before = GC.GetAllocatedBytesForCurrentThread();
    }

    public void End()
    {
        long after = GC.GetAllocatedBytesForCurrentThread();
        if (GC.CollectionCount(0) != _collections)
            return;
        _bytes += after - _before;
        _rounds++;
    }

    /// <summary>Gets the mean of the rounds that counted, in bytes; NaN if none did.</summary>
    public double BytesPerRound => (double)_bytes / _rounds;

    /// <summary>Fails if a round has allocated, or if no round counted.</summary>
    public void AssertNone()
    {
        Assert.True(_bytes == 0, $"{_bytes} bytes were allocated in {_rounds} rounds.");
        Assert.NotEqual(0, _rounds);
    }
}
