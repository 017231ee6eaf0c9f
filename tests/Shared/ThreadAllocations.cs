using Xunit;

namespace AllocTools.Testing;

/// <summary>What a thread allocates between <see cref="Begin"/> and <see cref="End"/>, in several rounds that are alike.</summary>
/// <remarks>
/// A collection, of other tests' garbage, counts what is left of each thread's allocation buffer as allocated; a round in
/// which one has happened counts for nothing. Collections in the background would stop threads once more without being
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

    /// <summary>The mean of the rounds that counted, in bytes; NaN where none did.</summary>
    public double BytesPerRound => (double)_bytes / _rounds;

    /// <summary>Fails where a round has allocated, or none counted.</summary>
    public void AssertNone()
    {
        Assert.True(_bytes == 0, $"{_bytes} bytes were allocated in {_rounds} rounds.");
        Assert.NotEqual(0, _rounds);
    }
}
