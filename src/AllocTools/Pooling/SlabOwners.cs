using System.Diagnostics;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>
/// All owners that a pool's memory goes back to: the size classes, the direct and user regions, and the registration
/// caches.
/// </summary>
/// <remarks>
/// It is created empty, because its owners are made of parts that know it; the pool fills it before any request comes.
/// </remarks>
internal sealed class SlabOwners(int classCount)
{
    private SlabOwner[]? _permanent;
    private DirectRegions? _direct;
    private UserRegions? _user;

    /// <summary>The size classes, the smallest blocks first.</summary>
    public SizeClass[] Classes { get; } = new SizeClass[classCount];

    public DirectRegions Direct => _direct ?? throw NotComplete();

    public UserRegions User => _user ?? throw NotComplete();

    /// <summary>Registrations of callers' memory that stay when it is returned.</summary>
    public RegistrationCaches Caches { get; } = new();

    /// <summary>All but the caches, which come and go.</summary>
    public SlabOwner[] Permanent => _permanent ?? throw NotComplete();

    public IEnumerable<SlabOwner> All => Permanent.Concat(Caches.All);

    /// <summary>Buffers that are rented, registered by the caller, or quarantined.</summary>
    public long Outstanding => All.Sum(o => o.Outstanding);

    /// <summary>Buffers that callers have. Quarantined ones come back when their endpoint is closed.</summary>
    public long Rented => All.Sum(o => o.Rented);

    /// <summary>Idle bytes in the threads' magazines.</summary>
    public long MagazineBytes => Classes.Sum(c => c.MagazineBytes);

    /// <summary>The memory that was registered at start and is kept for its class.</summary>
    public IReadOnlyList<MemoryRegion> InitialRegions => [.. Classes.SelectMany(c => c.InitialRegions)];

    /// <summary>Idle bytes of direct regions and of registration caches.</summary>
    public long IdleRegionBytes => Direct.IdleBytes + Caches.IdleBytes;

    /// <summary>Adds the owners that were missing. The classes are there already.</summary>
    public void Complete(DirectRegions direct, UserRegions user)
    {
        _direct = direct;
        _user = user;
        _permanent = [.. Classes, direct, user];
    }

    /// <summary>
    /// Returns the bytes of direct and user regions and of cached registrations that are in use and have at least the
    /// given length.
    /// </summary>
    public long RegionsInUse(long atLeast, bool directToo) => User.InUse(atLeast) + Caches.InUse(atLeast) + (directToo ? Direct.InUse(atLeast) : 0);

    /// <summary>
    /// Gives back idle direct regions, then idle registrations of callers' memory, until the given number of bytes is
    /// free.
    /// </summary>
    public long ReclaimRegions(long bytes)
    {
        long reclaimed = Direct.Reclaim(bytes);
        return reclaimed < bytes ? reclaimed + Caches.Reclaim(bytes - reclaimed) : reclaimed;
    }

    /// <summary>Gives back memory that has been idle since the given timestamp or longer.</summary>
    public void Trim(long idleSince)
    {
        foreach (SlabOwner owner in All)
            owner.Trim(idleSince);
    }

    private static UnreachableException NotComplete() => new("The owners of a pool are used before they are complete.");
}
