using System.Collections.Concurrent;

namespace AllocTools.Soak;

/// <summary>Counts what was done, and keeps what went wrong. Any thread may add to it.</summary>
/// <param name="say">Reports a fault when it happens.</param>
internal sealed class Ledger(Action<string>? say = null)
{
    /// <summary>The name under which killed peers are counted.</summary>
    public const string KilledPeers = "peers killed";

    /// <summary>The number of faults that are kept; further ones are only counted.</summary>
    private const int MostFaults = 50;

    private readonly ConcurrentDictionary<string, long> _done = new(), _documented = new();
    private readonly ConcurrentQueue<string> _faults = new();
    private long _wrongBytes, _faultCount;

    public long WrongBytes => Volatile.Read(ref _wrongBytes);

    public long Killed => _done.GetValueOrDefault(KilledPeers);

    public long FaultCount => Volatile.Read(ref _faultCount);

    /// <summary>
    /// Gets the counts, by name, of errors that the documents announce for what was done to the peer or to the pool.
    /// </summary>
    public IReadOnlyDictionary<string, long> Documented => _documented;

    /// <summary>Gets the counts of what was done, by name.</summary>
    public IReadOnlyDictionary<string, long> Done => _done;

    /// <summary>Gets what must not have happened, such as an error that nothing announces.</summary>
    public IReadOnlyCollection<string> Faults => _faults;

    public void Count(string what, long count = 1) => _done.AddOrUpdate(what, count, (_, c) => c + count);

    public void AddDocumented(string error, long count = 1) => _documented.AddOrUpdate(error, count, (_, c) => c + count);

    public void AddWrong(string where, long bytes)
    {
        if (bytes == 0)
            return;
        Interlocked.Add(ref _wrongBytes, bytes);
        AddFault($"{bytes} bytes are wrong: {where}.");
    }

    public void AddFault(string fault)
    {
        if (Interlocked.Increment(ref _faultCount) <= MostFaults)
        {
            _faults.Enqueue(fault);
            say?.Invoke($"fault: {fault}");
        }
    }

    /// <summary>Adds what another process has counted.</summary>
    public void Add(PeerAnswer other)
    {
        foreach ((string what, long count) in other.Done)
            Count(what, count);
        foreach ((string error, long count) in other.Documented)
            AddDocumented(error, count);
        Interlocked.Add(ref _wrongBytes, other.WrongBytes);
        foreach (string fault in other.Faults)
            AddFault(fault);
    }
}
