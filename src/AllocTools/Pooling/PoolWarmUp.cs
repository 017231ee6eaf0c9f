using System.Runtime.ExceptionServices;
using AllocTools.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>
/// Registers a pool's initial slabs, several at a time, because registering mostly waits for the kernel and the device.
/// </summary>
internal sealed class PoolWarmUp(PoolSettings settings)
{
    private const int MaxParallel = 8;
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromSeconds(1);

    private long _done;
    private long _lastLogged;

    /// <summary>A class for which the cap left no room.</summary>
    public SizeClass? Incomplete { get; private set; }

    /// <exception cref="RmaRegistrationException">The provider refused a slab. Those registered so far are kept.</exception>
    public void Run(SizeClass[] classes, CancellationToken cancellationToken)
    {
        (SizeClass Class, int Blocks)[] slabs = [.. classes.SelectMany(c => c.MissingSlabs().Select(blocks => (c, blocks)))];
        long total = slabs.Sum(s => s.Blocks * s.Class.BlockSize);
        _lastLogged = settings.Time.GetTimestamp();
        ParallelOptions options = new() { MaxDegreeOfParallelism = MaxParallel, CancellationToken = cancellationToken };
        try
        {
            Parallel.ForEach(slabs, options, slab => Add(slab.Class, slab.Blocks, total));
        }
        catch (AggregateException e)
        {
            // The first error is enough; the others have the same cause.
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }

    private void Add(SizeClass sizeClass, int blocks, long total)
    {
        long wanted = blocks * sizeClass.BlockSize;
        long added = sizeClass.AddInitialSlab(blocks);
        if (added < wanted)
            Incomplete = sizeClass;
        long done = Interlocked.Add(ref _done, added);
        long last = Volatile.Read(ref _lastLogged);
        if (settings.Time.GetElapsedTime(last) >= ProgressInterval && Interlocked.CompareExchange(ref _lastLogged, settings.Time.GetTimestamp(), last) == last)
            Log.WarmingUp(settings.Logger, settings.Name, done, total);
    }
}
