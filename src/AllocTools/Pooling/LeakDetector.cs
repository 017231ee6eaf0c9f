using System.Runtime.CompilerServices;
using AllocTools.Diagnostics;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Watches some rents, and reports those whose buffers are never returned.</summary>
/// <remarks>
/// A leaked block stays rented, because somebody may still have a span of it. The watched leases that have not ended are known by
/// weak references, so that closing the pool can name their owners.
/// </remarks>
internal sealed class LeakDetector(PoolSettings settings, RmaLeakDetection level)
{
    /// <summary>How many owners one line of the log names.</summary>
    private const int MostNamed = 8;

    private long _mask = MaskOf(level);
    private readonly ConditionalWeakTable<LeaseTracker, object?> _out = [];
    private long _rents;
    private long _leaks;

    /// <summary>A rent is watched if its thread's number of rents has none of these bits; a number of rents is never 0.</summary>
    public long Mask => Volatile.Read(ref _mask);

    /// <summary>The number of leaks found.</summary>
    public long Leaks => Volatile.Read(ref _leaks);

    /// <summary>Sets which rents are watched from now on. Those that are watched already stay so.</summary>
    public void SetLevel(RmaLeakDetection level) => Volatile.Write(ref _mask, MaskOf(level));

    /// <summary>Watches the rent if its turn has come. The warm path does not call this.</summary>
    public RmaBuffer Sample(RmaBuffer buffer) => Mask != -1 && (Interlocked.Increment(ref _rents) & Mask) == 0 ? Watch(buffer) : buffer;

    /// <summary>Watches a rent.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public RmaBuffer Watch(RmaBuffer buffer)
    {
        LeaseTracker tracker = new(this, buffer.Length);
        _out.Add(tracker, null);
        return buffer.WatchedBy(tracker);
    }

    private static long MaskOf(RmaLeakDetection level) => level switch
    {
        RmaLeakDetection.Off => -1,
        RmaLeakDetection.Sampled => 127,
        _ => 0,
    };

    public void OnEnded(LeaseTracker tracker) => _out.Remove(tracker);

    public void OnLost(long length, string owner, string stack)
    {
        Interlocked.Increment(ref _leaks);
        // The finalizer's thread must not call loggers.
        ThreadPool.UnsafeQueueUserWorkItem(
            static lost => Log.Leaked(lost.settings.Logger, lost.settings.Name, lost.length, lost.owner, lost.stack), (settings, length, owner, stack), preferLocal: false);
    }

    /// <summary>Returns the owners of rented buffers, and how many each has, such as <c>gradients (3), an unknown owner (1)</c>.</summary>
    /// <param name="rented">How many buffers are rented.</param>
    public string OwnersOf(long rented)
    {
        Dictionary<string, long> owners = [];
        long unknown = rented;
        foreach ((LeaseTracker tracker, _) in _out)
        {
            if (tracker.Owner == LeaseTracker.UnknownOwner)
                continue;
            owners[tracker.Owner] = owners.GetValueOrDefault(tracker.Owner) + 1;
            unknown--;
        }
        IEnumerable<string> named = owners.OrderByDescending(o => o.Value).ThenBy(o => o.Key, StringComparer.Ordinal).Take(MostNamed).Select(o => $"{o.Key} ({InWords.Number(o.Value)})");
        if (owners.Count > MostNamed)
            named = named.Append($"other owners ({InWords.Number(owners.Count - MostNamed)})");
        // Some may have been returned since they were counted.
        if (unknown > 0)
            named = named.Append($"{LeaseTracker.UnknownOwner} ({InWords.Number(unknown)}; LeakDetection and RmaOwner.Begin name owners)");
        return string.Join(", ", named);
    }

    /// <summary>Logs the owner of each watched buffer that is still rented.</summary>
    public void ReportOut()
    {
        foreach ((LeaseTracker tracker, _) in _out)
            Log.StillOut(settings.Logger, settings.Name, tracker.Length, tracker.Owner, tracker.Stack);
    }
}
