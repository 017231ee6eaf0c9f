namespace AllocTools.Tests.Model;

/// <summary>
/// The options of a scenario's pool. Its values need no order and respect no sum: what does not fit is left out.
/// </summary>
internal sealed record PoolShape(
    long Cap,
    IReadOnlyList<(long BlockSize, int InitialBlocks)> Classes,
    long MaxSlabBytes,
    long MaxIdleDirectBytes,
    int? RetentionSeconds,
    RmaIsolation Isolation,
    Scrub Scrub)
{
    /// <summary>The interval at which idle memory is looked for, and the unit of the scenario's clock.</summary>
    public static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    /// <summary>How long a request waits.</summary>
    public static readonly TimeSpan RentTimeout = TimeSpan.FromSeconds(4);

    public long Largest => Classes[^1].BlockSize;

    /// <summary>The index of the direct regions among the owners of memory.</summary>
    public int Direct => Classes.Count;

    /// <summary>The index of the user regions.</summary>
    public int User => Classes.Count + 1;

    /// <summary>Returns the index of the class that serves a length, or that of the direct regions.</summary>
    public int OwnerOf(long length)
    {
        int index = 0;
        while (index < Classes.Count && Classes[index].BlockSize < length)
            index++;
        return index;
    }

    /// <summary>Makes a shape of classes in any order and of any number of initial blocks.</summary>
    public static PoolShape Of(
        long cap, IEnumerable<(long BlockSize, int InitialBlocks)> classes, long maxSlabBytes, long maxIdleDirectBytes, int? retentionSeconds, RmaIsolation isolation, Scrub scrub)
    {
        List<(long BlockSize, int InitialBlocks)> fitting = [];
        long room = cap;
        foreach ((long blockSize, int initialBlocks) in classes.Where(c => c.BlockSize <= cap).DistinctBy(c => c.BlockSize).OrderBy(c => c.BlockSize))
        {
            int initial = (int)Math.Min(initialBlocks, room / blockSize);
            room -= initial * blockSize;
            fitting.Add((blockSize, initial));
        }
        if (fitting.Count == 0)
            fitting.Add((64, 0));
        return new PoolShape(cap, fitting, maxSlabBytes, maxIdleDirectBytes, retentionSeconds, isolation, scrub);
    }

    public void Apply(RmaMemoryPoolOptions options)
    {
        options.MaxRegisteredBytes = Cap;
        options.MaxSlabBytes = MaxSlabBytes;
        options.MaxIdleDirectBytes = MaxIdleDirectBytes;
        options.IdleRetention = RetentionSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : Timeout.InfiniteTimeSpan;
        options.TrimInterval = Tick;
        options.RentTimeout = RentTimeout;
        options.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
        options.Isolation = Isolation;
        options.ClearOnReturn = Scrub == Scrub.Clear;
        options.PoisonOnReturn = Scrub == Scrub.Poison;
        foreach ((long blockSize, int initialBlocks) in Classes)
            options.SizeClasses.Add(new SizeClassOptions { BlockSize = blockSize, InitialBlocks = initialBlocks });
    }

    public override string ToString() =>
        $"cap {Cap}, classes {string.Join(' ', Classes.Select(c => $"{c.BlockSize}x{c.InitialBlocks}"))}, slabs up to {MaxSlabBytes}, idle direct {MaxIdleDirectBytes}, "
        + $"retention {RetentionSeconds?.ToString() ?? "endless"}, {Isolation}, scrub {Scrub}";
}
