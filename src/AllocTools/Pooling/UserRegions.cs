using System.Buffers;
using System.Collections.Concurrent;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Memory that callers own, registered until they dispose the buffer. It counts against the cap.</summary>
internal sealed class UserRegions(PoolEngine engine) : SlabOwner(engine)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<Slab, MemoryHandle> _regions = [];
    private long _registeredBytes;

    public override long Outstanding
    {
        get
        {
            lock (_gate)
                return _regions.Count;
        }
    }

    /// <summary>Bytes of regions that are so long or longer.</summary>
    public long InUse(long atLeast)
    {
        lock (_gate)
            return _regions.Keys.Sum(r => r.Region.Length >= atLeast ? r.Region.Length : 0);
    }

    /// <summary>Registers memory. The pin is taken over, also where it fails.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="pin">Keeps it in place.</param>
    /// <param name="isManaged">It is the garbage collector's, which is mapped and writable.</param>
    public RmaBuffer Register(nint address, long length, MemoryHandle pin, bool isManaged)
    {
        try
        {
            if (address == 0)
                throw new ArgumentOutOfRangeException(nameof(address), "The address must not be 0.");
            Engine.CheckRequest(length);
            return RegisterPinned(address, length, pin, isManaged);
        }
        catch (Exception e)
        {
            if (SlabFactory.IsStillRegistered(e))
                LastingPins.Keep(pin);
            else
                Engine.Incidents.Guard("unpinning memory of the caller's", () => pin.Dispose());
            throw;
        }
    }

    private RmaBuffer RegisterPinned(nint address, long length, MemoryHandle pin, bool isManaged)
    {
        // Where the system does not say, it is taken for what callers mostly have.
        MemoryRights rights = (isManaged ? null : MemoryMap.RightsOf(address, length)) ?? MemoryRights.All;
        if (rights.UnmappedAt is { } at)
            throw Unusable(length, $"the byte at offset {at} is not mapped");
        if (!rights.IsReadable)
            throw Unusable(length, "some of it may not be read (PROT_NONE)");
        int alignment = Engine.Context.Traits.Alignment;
        if (address % alignment != 0)
            throw new ArgumentOutOfRangeException(nameof(address), $"The address must be a multiple of {alignment}: the provider '{Engine.Context.Traits.ProviderName}' registers no other.");
        ulong[] states = Slab.AllocateStates(length, 1);
        if (!Engine.Memory.TryReserveWhole(length))
            throw Engine.Refusals.Exhausted(length, $"{InWords.Size(length)} of the caller's memory");
        RmaAccess access = rights.IsWritable ? Engine.SlabAccess : Engine.SlabAccess & ~RmaAccess.RemoteWrite;
        Slab slab;
        try
        {
            if (Engine.Context.Traits.PagesBackedBeforeRegistering)
                Back(address, length, rights.IsWritable);
            IRmaRegistration registration = Engine.Slabs.Register(address, length, access, rights.IsWritable);
            slab = new Slab(this, new MemoryRegion(address, length, access, registration, rights.IsWritable), length, 1, states) { ChecksPointers = Engine.ChecksPointers };
            lock (_gate)
            {
                _regions.Add(slab, pin);
                _registeredBytes += length;
            }
        }
        finally
        {
            Engine.Memory.InTransit.Leave(length);
        }
        return new RmaBuffer(slab, 0, slab.Lease(0), length);
    }

    /// <summary>Has pages for memory whose bytes were reserved. On failure the reservation is released.</summary>
    private void Back(nint address, long length, bool isWritable)
    {
        int error = SystemPages.PopulateInUse(address, (nuint)length, isWritable);
        if (error == 0)
            return;
        var failure = new RmaRegistrationException(
            $"The {InWords.Size(length)} of the caller's memory can't be backed with pages, as the provider '{Engine.Context.Traits.ProviderName}' demands: madvise failed with {SystemPages.Describe(error)}. The system has no memory left, or the end of a mapped file was passed.",
            "madvise",
            length,
            Engine.Context.Traits.ProviderName,
            error,
            SystemErrors.NameOf(error));
        Engine.Counters.CountRegistrationFailure(failure, Engine.Time);
        Engine.Memory.Release(length);
        throw failure;
    }

    private RmaRegistrationException Unusable(long length, string why) => new(
        $"The {InWords.Size(length)} of the caller's memory can't be registered with the pool '{Engine.Name}': {why}.",
        "register",
        length,
        Engine.Context.Traits.ProviderName,
        SystemErrors.BadAddress,
        SystemErrors.NameOf(SystemErrors.BadAddress));

    private protected override void TakeBack(Slab slab, int index, ulong nextLease)
    {
        MemoryHandle pin;
        lock (_gate)
        {
            _regions.Remove(slab, out pin);
            _registeredBytes -= slab.Region.Length;
        }
        // Where the registration can't be undone the transport may still reach the memory: it stays pinned. Unpinning is the
        // caller's code, and this may be an endpoint's thread.
        if (Engine.Slabs.TryDeregister(slab.Region.Registration, slab.Region.Length))
            Engine.Incidents.Guard("unpinning memory of the caller's", () => pin.Dispose());
        else
            LastingPins.Keep(pin);
    }

    public override void ReleaseIdle()
    {
        // Nothing here is ever idle.
    }

    public override RmaSizeClassStatistics GetStatistics()
    {
        lock (_gate)
        {
            return new RmaSizeClassStatistics
            {
                Name = "user",
                BlockSize = 0,
                Slabs = _regions.Count,
                RegisteredBytes = _registeredBytes,
                IdleBytes = 0,
                Hits = 0,
                Misses = 0,
                TotalBuffers = _regions.Count,
                IdleBuffers = 0,
                QuarantinedBuffers = Quarantined,
            };
        }
    }

    /// <summary>
    /// What callers have pinned and a transport may reach for ever, since a registration could not be undone. Static: neither
    /// the pool that pinned it nor its owner may be the last to refer to it, for then it would be freed.
    /// </summary>
    private static class LastingPins
    {
        private static readonly ConcurrentQueue<MemoryHandle> Kept = [];

        public static void Keep(MemoryHandle pin) => Kept.Enqueue(pin);
    }
}
