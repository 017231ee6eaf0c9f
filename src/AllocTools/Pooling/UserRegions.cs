using System.Buffers;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>Registers memory that callers own, until they dispose the buffer. It counts against the cap.</summary>
internal sealed class UserRegions(PoolParts parts) : SlabOwner(parts)
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

    /// <summary>Returns the bytes of regions that have at least the given length.</summary>
    public long InUse(long atLeast)
    {
        lock (_gate)
            return _regions.Keys.Sum(r => r.Region.Length >= atLeast ? r.Region.Length : 0);
    }

    /// <summary>Registers memory. It takes over the pin, even if it fails.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="pin">Keeps it in place.</param>
    /// <param name="isManaged">Whether it belongs to the garbage collector, so that it is mapped and writable.</param>
    /// <param name="isReadOnly">Whether to register it as memory that is only read.</param>
    public RmaBuffer Register(nint address, long length, MemoryHandle pin, bool isManaged, bool isReadOnly)
    {
        try
        {
            if (address == 0)
                throw new ArgumentOutOfRangeException(nameof(address), "The address must not be 0.");
            Parts.Refusals.CheckRequest(length);
            return RegisterPinned(address, length, pin, isManaged, isReadOnly);
        }
        catch (Exception e)
        {
            if (SlabFactory.IsStillRegistered(e))
                CallersMemory.LastingPins.Keep(pin);
            else
                Parts.Incidents.Guard("unpinning the caller's memory", () => pin.Dispose());
            throw;
        }
    }

    private RmaBuffer RegisterPinned(nint address, long length, MemoryHandle pin, bool isManaged, bool isReadOnly)
    {
        // This comes first, so that nothing can fail once the memory is registered.
        ulong[] states = Slab.AllocateStates(length, 1);
        MemoryRegion region = Parts.Callers.Register(address, length, isManaged, isReadOnly);
        Slab slab;
        try
        {
            slab = new Slab(this, region, length, 1, states) { ChecksPointers = Parts.Settings.ChecksPointers };
            lock (_gate)
            {
                _regions.Add(slab, pin);
                _registeredBytes += length;
            }
        }
        finally
        {
            Parts.Memory.InTransit.Leave(length);
        }
        return new RmaBuffer(slab, 0, slab.Lease(0), length);
    }

    private protected override void TakeBack(Slab slab, int index, ulong nextLease)
    {
        MemoryHandle pin;
        lock (_gate)
        {
            _regions.Remove(slab, out pin);
            _registeredBytes -= slab.Region.Length;
        }
        // If the registration can't be undone, the transport may still reach the memory, so it stays pinned. Unpinning
        // runs the caller's code, possibly on an endpoint's thread.
        if (Parts.Slabs.TryDeregister(slab.Region.Registration, slab.Region.Length))
            Parts.Incidents.Guard("unpinning the caller's memory", () => pin.Dispose());
        else
            CallersMemory.LastingPins.Keep(pin);
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
}
