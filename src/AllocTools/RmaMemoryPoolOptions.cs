using System.ComponentModel.DataAnnotations;

namespace AllocTools;

/// <summary>Options of a pool. The defaults start anywhere: at most 2 MiB is registered at start, the rest on demand.</summary>
public sealed class RmaMemoryPoolOptions
{
    /// <summary>
    /// The size classes, in ascending order of block size. Range: 1 to 256 classes.
    /// Default when empty: 1 KiB × 256, 16 KiB × 16, 64 KiB × 8, 1 MiB × 1 (block size × blocks at start).
    /// A longer request gets a direct region of its own.
    /// </summary>
    public IList<SizeClassOptions> SizeClasses { get; } = [];

    /// <summary>
    /// Size classes from a smallest to a largest block in even steps, in place of <see cref="SizeClasses"/>. Default: null.
    /// </summary>
    public SizeClassRangeOptions? SizeClassRange { get; set; }

    /// <summary>
    /// The hard cap on what the pool has registered at any time: slabs, direct regions, user regions and the own
    /// registrations of exposures. Unit: bytes. Range: 4 KiB to 1 EiB. Default: 1 GiB.
    /// </summary>
    [Range(4096, 1L << 60)]
    public long MaxRegisteredBytes { get; set; } = 1L << 30;

    /// <summary>
    /// How large a slab may grow. Growth starts with at most 1 MiB and doubles up to this; a class with larger blocks
    /// takes one block at a time. Unit: bytes. Range: 64 KiB to 16 GiB. Default: 16 MiB.
    /// </summary>
    [Range(65536, 1L << 34)]
    public long MaxSlabBytes { get; set; } = 16L << 20;

    /// <summary>
    /// How much idle memory the direct regions (requests over the largest class) may keep registered for the next
    /// request of about the same size. Unit: bytes. Range: 0 (nothing is kept) to 1 EiB. Default: 64 MiB.
    /// </summary>
    [Range(0, 1L << 60)]
    public long MaxIdleDirectBytes { get; set; } = 64L << 20;

    /// <summary>
    /// How long a slab or a direct region stays registered while nothing of it is out. A size class keeps its
    /// <see cref="SizeClassOptions.InitialBlocks"/>. Range: 0 to 24 h, or -1 ms: never given back. Default: 60 s.
    /// </summary>
    public TimeSpan IdleRetention { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>How often idle memory is looked for. Range: 10 ms to 24 h, or -1 ms: never. Default: 10 s.</summary>
    public TimeSpan TrimInterval { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The pages of slabs and direct regions (Linux). With <see cref="RmaHugePages.Explicit"/> each is a multiple of the
    /// system's huge page size, and so counts against the cap. Default: <see cref="RmaHugePages.Transparent"/>.
    /// </summary>
    public RmaHugePages HugePages { get; set; }

    /// <summary>
    /// The NUMA node that slabs and direct regions come from as long as it has memory (Linux). Range: 0 to 1,023, a node
    /// of this system, or -1 for none in particular. Default when null: the fabric device's, where sysfs tells it.
    /// </summary>
    public int? NumaNode { get; set; }

    /// <summary>
    /// What the pool's memory is registered for. Remote access must be asked for.
    /// Default: <see cref="RmaAccess.Local"/>, which is always included.
    /// </summary>
    public RmaAccess Access { get; set; } = RmaAccess.Local;

    /// <summary>How far the key of an exposure reaches. Default: <see cref="RmaIsolation.Shared"/>.</summary>
    public RmaIsolation Isolation { get; set; } = RmaIsolation.Shared;

    /// <summary>
    /// How long <see cref="IRmaMemoryPool.RentAsync"/> waits at the cap before it fails.
    /// Range: 0 to 24 h, or -1 ms for no limit. Default: 30 s.
    /// </summary>
    public TimeSpan RentTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long disposing waits for buffers that are still out. Range: 0 to 24 h. Default: 5 s.
    /// </summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Diagnostics: which rents are watched for buffers that are never returned. A report names the owner
    /// (<see cref="RmaOwner"/>) and the rent's stack. Default: <see cref="RmaLeakDetection.Off"/>.
    /// </summary>
    public RmaLeakDetection LeakDetection { get; set; }

    /// <summary>Fill memory with zeros when it is returned, so that no later owner and no peer reads what was there. Default: false.</summary>
    public bool ClearOnReturn { get; set; }

    /// <summary>Diagnostics: fill memory with 0xDD when it is returned, so that tests see a use after the return. Default: false.</summary>
    public bool PoisonOnReturn { get; set; }
}
