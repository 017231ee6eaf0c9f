namespace AllocTools.Pooling;

/// <summary>How a size class grows: by one thread at a time, outside of the class's lock, each time by twice as much up to the option's limit.</summary>
internal sealed class ClassGrowth(SizeClass sizeClass)
{
    private const long FirstBytes = 1L << 20;

    private readonly PoolSettings _settings = sizeClass.Parts.Settings;
    private readonly PoolMemory _memory = sizeClass.Parts.Memory;
    private readonly Lock _gate = new();

    // The result is whether memory was registered.
    private TaskCompletionSource<bool>? _running;
    private long _nextBytes = Math.Min(FirstBytes, sizeClass.Parts.Settings.MaxSlabBytes);

    /// <summary>The bytes that the class would grow by.</summary>
    public long Next => Math.Max(Volatile.Read(ref _nextBytes) / sizeClass.BlockSize, 1) * sizeClass.BlockSize;

    /// <summary>Doubles the next growth, after the class has grown by the given bytes.</summary>
    public void Double(long bytes) => Volatile.Write(ref _nextBytes, Math.Min(Math.Max(bytes * 2, FirstBytes), _settings.MaxSlabBytes));

    /// <summary>Tries to make this thread the one that lets the class grow. Returns null if another thread does.</summary>
    public TaskCompletionSource<bool>? TryBegin(out Task<bool>? others)
    {
        lock (_gate)
        {
            others = _running?.Task;
            return others is null ? _running = new TaskCompletionSource<bool>() : null;
        }
    }

    public void End(TaskCompletionSource<bool> growth, bool hasGrown)
    {
        lock (_gate)
            _running = null;
        growth.SetResult(hasGrown);
    }

    /// <summary>Waits for another thread that is in the provider now; it needs no thread of the pool to continue.</summary>
    /// <param name="growth">That thread's growth.</param>
    /// <param name="until">When the caller's patience ends, in milliseconds of <see cref="Environment.TickCount64"/>; 0 at its first wait.</param>
    public bool IsOver(Task<bool> growth, ref long until)
    {
        TimeSpan most = _settings.RentTimeout;
        if (most <= TimeSpan.Zero)
            return growth.Wait(Timeout.InfiniteTimeSpan);
        if (until == 0)
            until = Environment.TickCount64 + (long)most.TotalMilliseconds;
        // A wait may end a little before its time.
        while (!growth.Wait(TimeSpan.FromMilliseconds(Math.Max(0, until - Environment.TickCount64))))
        {
            if (Environment.TickCount64 >= until)
                return false;
        }
        return true;
    }

    /// <summary>
    /// Registers a slab, of a single block if the provider refuses more. Its bytes are in transit until it is added.
    /// </summary>
    public Slab? TryRegister(long preferred, bool mayReclaim)
    {
        try
        {
            return TryCreateSlab(preferred, mayReclaim);
        }
        catch (RmaRegistrationException e) when (preferred > sizeClass.BlockSize)
        {
            // A limit may leave room for one block even if it leaves none for many.
            try
            {
                return TryCreateSlab(sizeClass.BlockSize, mayReclaim);
            }
            catch (RmaRegistrationException)
            {
                throw e;
            }
        }
    }

    /// <summary>Registers a slab, whose bytes are in transit until it is added.</summary>
    public Slab? TryCreateSlab(long preferredBytes, bool mayReclaim)
    {
        long reserved = _memory.Reserve(_memory.RoundToPages(preferredBytes), _memory.RoundToPages(sizeClass.BlockSize), sizeClass, mayReclaim);
        if (reserved == 0)
            return null;
        // Near the cap there may be room for a part of a block; that part is not taken.
        int blocks = checked((int)(reserved / sizeClass.BlockSize));
        long bytes = _memory.RoundToPages(blocks * sizeClass.BlockSize);
        if (reserved != bytes)
        {
            _memory.Release(reserved - bytes);
            _memory.InTransit.Leave(reserved - bytes);
        }
        try
        {
            return sizeClass.Parts.Slabs.Create(sizeClass, bytes, sizeClass.BlockSize, blocks);
        }
        catch
        {
            _memory.InTransit.Leave(bytes);
            throw;
        }
    }
}
