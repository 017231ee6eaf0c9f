using AllocTools.Blocks;
using AllocTools.Caching;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools;

/// <summary>Options of a pool. The defaults work on any machine: at most 2 MiB is registered at start, and the rest on demand.</summary>
public sealed class RmaMemoryPoolOptions
{
    private const long UsualCap = 1L << 30;

    private long? _maxRegisteredBytes;
    private long _defaultCap = UsualCap;

    /// <summary>
    /// The size classes, in ascending order of block size; there must be at most 256. A longer request gets a direct region of its own.
    /// If none is set, they are 1 KiB × 256, 16 KiB × 16, 64 KiB × 8, 1 MiB × 1 (block size × blocks at start).
    /// </summary>
    [ValidateEnumeratedItems(typeof(SizeClassOptionsRanges))]
    public IList<SizeClassOptions> SizeClasses { get; private set; } = [];

    /// <summary>
    /// Size classes from a smallest to a largest block in even steps; used instead of <see cref="SizeClasses"/>.
    /// </summary>
    [ValidateObjectMembers(typeof(SizeClassRangeOptionsRanges))]
    public SizeClassRangeOptions? SizeClassRange { get; set; }

    /// <summary>
    /// The hard cap on what the pool has registered at any time: slabs, direct regions, user regions and registrations
    /// made for exposures. If it is not set and the control group has a memory limit, the cap is the memory that the
    /// group has left at start, minus a quarter of the limit (at least 64 MiB) for the transport and the managed heap,
    /// but at most the default.
    /// Unit: bytes. Range: 4 KiB to 1 EiB. Default: 1 GiB.
    /// </summary>
    [OptionRange(4096, 1L << 60, "bytes")]
    public long MaxRegisteredBytes
    {
        get => _maxRegisteredBytes ?? _defaultCap;
        set => _maxRegisteredBytes = value;
    }

    /// <summary>
    /// How large a slab may grow. Growth starts with at most 1 MiB and doubles up to this; a class with larger blocks
    /// takes one block at a time. Unit: bytes. Range: 64 KiB to 16 GiB. Default: 16 MiB.
    /// </summary>
    [OptionRange(65536, 1L << 34, "bytes")]
    public long MaxSlabBytes { get; set; } = 16L << 20;

    /// <summary>Whether the cap has its default value, because it was not set.</summary>
    internal bool IsCapDefault => _maxRegisteredBytes is null;

    /// <summary>Lowers a cap that was not set to the memory that the control group has left.</summary>
    /// <returns>Why it is lower than the default; null if it is not.</returns>
    internal string? FitDefaultCap(CgroupMemory? group)
    {
        if (group is null || !IsCapDefault)
            return null;
        _defaultCap = MemoryRoom.DefaultCap(group, UsualCap);
        return _defaultCap == UsualCap
            ? null
            : $"{nameof(MaxRegisteredBytes)} is not set, and of the control group's memory limit, {InWords.Bytes(group.Limit)}, {InWords.About(group.Available)} are left ({group.File}): "
                + $"it is {InWords.Bytes(_defaultCap)} instead of {InWords.Bytes(UsualCap)}.";
    }

    /// <summary>
    /// How much idle memory the direct regions (requests over the largest class) may keep registered for the next
    /// request of about the same size. Unit: bytes. Range: 0 (nothing is kept) to 1 EiB. Default: 64 MiB.
    /// </summary>
    [OptionRange(0, 1L << 60, "bytes")]
    public long MaxIdleDirectBytes { get; set; } = 64L << 20;

    /// <summary>How much a registration cache of the pool keeps (<see cref="RmaRegistrationCache"/>).</summary>
    [ValidateObjectMembers(typeof(RmaRegistrationCacheOptionsRanges))]
    public RmaRegistrationCacheOptions RegistrationCache { get; private set; } = new();

    /// <summary>
    /// How long a slab, a direct region or an entry of a registration cache stays registered while none of it is rented. A size class keeps its
    /// <see cref="SizeClassOptions.InitialBlocks"/>. Range: 0 to 24 h, or -1 ms: it is never deregistered. Default: 60 s.
    /// </summary>
    [OptionTimeRange(0, OptionTimeRangeAttribute.Day, InfiniteMeans = "never")]
    public TimeSpan IdleRetention { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>How often the pool looks for idle memory. Range: 10 ms to 24 h, or -1 ms: never. Default: 10 s.</summary>
    [OptionTimeRange(10, OptionTimeRangeAttribute.Day, InfiniteMeans = "never")]
    public TimeSpan TrimInterval { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The pages of slabs and direct regions (Linux). With <see cref="RmaHugePages.Explicit"/> each is a multiple of the
    /// system's huge page size, and so counts against the cap. Default: <see cref="RmaHugePages.Transparent"/>.
    /// </summary>
    [OptionChoice(typeof(RmaHugePages))]
    public RmaHugePages HugePages { get; set; }

    /// <summary>
    /// The NUMA node that slabs and direct regions come from as long as it has memory (Linux). Range: 0 to 1,023, a node
    /// of this system, or -1 for any node. Default when null: the fabric device's node, if sysfs reports it.
    /// </summary>
    [OptionRange(-1, NumaNodes.MostNodes - 1, "", LeastMeans = "any node")]
    public int? NumaNode { get; set; }

    /// <summary>
    /// What the pool's memory is registered for. Remote access must be requested explicitly.
    /// Default: <see cref="RmaAccess.Local"/>, which is always included.
    /// </summary>
    [OptionChoice(typeof(RmaAccess))]
    public RmaAccess Access { get; set; } = RmaAccess.Local;

    /// <summary>Which memory the key of an exposure gives access to. Default: <see cref="RmaIsolation.Shared"/>.</summary>
    [OptionChoice(typeof(RmaIsolation))]
    public RmaIsolation Isolation { get; set; } = RmaIsolation.Shared;

    /// <summary>
    /// How long <see cref="IRmaMemoryPool.RentAsync"/> waits at the cap, or for memory to be registered, before it fails, and how long
    /// <see cref="IRmaMemoryPool.Rent"/> waits for memory that another thread registers. 0: no caller waits at the cap,
    /// and a registration takes as long as the provider needs.
    /// Range: 0 to 24 h, or -1 ms for no limit. Default: 30 s.
    /// </summary>
    [OptionTimeRange(0, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan RentTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long disposing the pool waits for buffers that are still rented. Range: 0 to 24 h. Default: 5 s.
    /// </summary>
    [OptionTimeRange(0, OptionTimeRangeAttribute.Day)]
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Diagnostics: which rents are watched for buffers that are never returned. A report names the owner
    /// (<see cref="RmaOwner"/>) and the rent's stack. Default: <see cref="RmaLeakDetection.Off"/>.
    /// </summary>
    [OptionChoice(typeof(RmaLeakDetection))]
    public RmaLeakDetection LeakDetection { get; set; }

    /// <summary>Fill memory with zeros when it is returned, so that no later owner and no peer reads what was there. Default: false.</summary>
    public bool ClearOnReturn { get; set; }

    /// <summary>Diagnostics: fill memory with 0xDD when it is returned, so that tests see a use after the return. Default: false.</summary>
    public bool PoisonOnReturn { get; set; }

    /// <summary>
    /// Diagnostics: arithmetic on an <c>RmaPointer</c> that leaves its buffer throws immediately, and not only when the
    /// memory there is read or written. A debug build of the library always checks it. Default: false.
    /// </summary>
    public bool CheckPointers { get; set; }

    /// <summary>When a host registers <see cref="SizeClassOptions.InitialBlocks"/>. Default: <see cref="RmaWarmUp.BeforeStart"/>.</summary>
    [OptionChoice(typeof(RmaWarmUp))]
    public RmaWarmUp WarmUp { get; set; }

    /// <summary>Returns a copy that shares nothing with these options.</summary>
    internal RmaMemoryPoolOptions Copy()
    {
        var copy = (RmaMemoryPoolOptions)MemberwiseClone();
        // An entry may be null, which the validator reports.
        copy.SizeClasses = [.. SizeClasses.Select(c => c?.Copy()!)];
        copy.SizeClassRange = SizeClassRange?.Copy();
        copy.RegistrationCache = RegistrationCache.Copy();
        return copy;
    }

    /// <summary>
    /// Returns a copy with the other options' values of everything that may change while a pool is in use; see
    /// <see cref="RmaMemoryPool{TProvider}.Reconfigure"/>.
    /// </summary>
    internal RmaMemoryPoolOptions WithLiveOptionsOf(RmaMemoryPoolOptions other)
    {
        RmaMemoryPoolOptions copy = Copy();
        copy._maxRegisteredBytes = other._maxRegisteredBytes;
        copy.IdleRetention = other.IdleRetention;
        copy.TrimInterval = other.TrimInterval;
        copy.RentTimeout = other.RentTimeout;
        copy.DrainTimeout = other.DrainTimeout;
        copy.LeakDetection = other.LeakDetection;
        return copy;
    }
}
