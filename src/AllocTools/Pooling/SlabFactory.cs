using AllocTools.Blocks;
using AllocTools.Buffers;
using AllocTools.Diagnostics;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>Makes registered memory (budget, pages, registration) and gives it back in the opposite order.</summary>
/// <remarks>Each step that fails undoes those before it. Nothing here runs under a lock.</remarks>
internal sealed class SlabFactory(
    PoolSettings settings,
    PoolCounters counters,
    PoolIncidents incidents,
    PoolLifetime lifetime,
    PoolMemory memory,
    RegistrationCaches caches,
    IBlockAllocator blocks,
    MemoryRoom? room)
{
    /// <summary>Registers fresh memory whose bytes were reserved. On failure the reservation is released.</summary>
    public Slab Create(SlabOwner owner, long reservedBytes, long blockSize, int blockCount)
    {
        ulong[] states;
        nint address;
        ArrayBlocks? arrays = null;
        try
        {
            // This comes first, so that nothing can fail once the memory is registered.
            states = Slab.AllocateStates(blockSize, blockCount);
            address = Allocate(reservedBytes);
            if (blocks is PinnedArrayAllocator)
                arrays = new ArrayBlocks(PinnedArrayAllocator.ArrayAt(address), address, blockSize, blockCount);
        }
        catch
        {
            memory.Release(reservedBytes);
            throw;
        }
        IRmaRegistration registration;
        try
        {
            registration = RegisterReserved(address, reservedBytes, settings.SlabAccess);
        }
        catch (Exception e) when (!IsStillRegistered(e))
        {
            Unmap(address, reservedBytes);
            throw;
        }
        return new Slab(owner, new MemoryRegion(address, reservedBytes, settings.SlabAccess, registration), blockSize, blockCount, states) { ChecksPointers = settings.ChecksPointers, Arrays = arrays };
    }

    /// <summary>
    /// Registers memory whose bytes were reserved. On failure the reservation is released, unless the memory
    /// <see cref="IsStillRegistered"/>.
    /// </summary>
    public IRmaRegistration Register(nint address, long length, RmaAccess access, bool isWritable)
    {
        try
        {
            return RegisterReserved(address, length, access, isWritable);
        }
        catch (Exception e) when (!IsStillRegistered(e))
        {
            memory.Release(length);
            throw;
        }
    }

    /// <summary>Like <see cref="Register"/>, but the reservation stays on failure.</summary>
    private IRmaRegistration RegisterReserved(nint address, long length, RmaAccess access, bool isWritable = true)
    {
        lifetime.AddHolder();
        using RmaSpan span = RmaActivities.Start("rma.register", settings, length);
        long started = settings.Time.GetTimestamp();
        try
        {
            IRmaRegistration registration = RegisterByProvider(address, length, access, isWritable);
            Interlocked.Increment(ref counters.Registrations);
            counters.Instruments?.RecordRegistration(settings.Time.GetElapsedTime(started), null);
            return registration;
        }
        catch (Exception e)
        {
            span.Fail(e);
            counters.Instruments?.RecordRegistration(settings.Time.GetElapsedTime(started), RmaTags.ErrorTypeOf(e));
            counters.CountRegistrationFailure(e, settings.Time);
            if (IsStillRegistered(e))
            {
                // The transport may still reach the memory, so it stays reserved permanently, and keeps the context open.
                incidents.DeregistrationFailed(length, e);
                throw;
            }
            lifetime.RemoveHolder();
            throw;
        }
    }

    /// <summary>
    /// Lets the provider register memory. If it refuses, a limit of the system may have been reached: idle cached
    /// registrations give way, and it is asked once more.
    /// </summary>
    private IRmaRegistration RegisterByProvider(nint address, long length, RmaAccess access, bool isWritable)
    {
        try
        {
            return Register();
        }
        catch (RmaRegistrationException e) when (!e.IsStillRegistered)
        {
            if (caches.Reclaim(length) == 0)
                throw;
        }
        return Register();

        IRmaRegistration Register() => isWritable ? settings.Context.Register(address, length, access) : settings.Context.RegisterReadOnly(address, length, access);
    }

    /// <summary>Whether registering memory failed in a way after which the memory must stay mapped.</summary>
    public static bool IsStillRegistered(Exception e) => e is RmaRegistrationException { IsStillRegistered: true };

    /// <summary>
    /// Undoes a registration and releases its bytes. Returns false if it could not be undone: then the memory must stay
    /// mapped.
    /// </summary>
    public bool TryDeregister(IRmaRegistration registration, long length)
    {
        if (!TryDeregisterReserved(registration, length))
            return false;
        memory.Release(length);
        return true;
    }

    /// <summary>
    /// Deregisters, then unmaps. Memory that can't be given back stays reserved, so that a pool never exceeds its cap.
    /// </summary>
    public void Destroy(Slab slab)
    {
        slab.Arrays?.Forget();
        if (TryDeregisterReserved(slab.Region.Registration, slab.Region.Length))
            Unmap(slab.Region.Address, slab.Region.Length);
    }

    private void Unmap(nint address, long length)
    {
        try
        {
            blocks.Free(address, length);
        }
        catch (Exception e)
        {
            // Exceptions of all types are caught, because the allocator may be the application's, and a caller that
            // returns a buffer or closes the pool can't do anything about it.
            incidents.UnmapFailed(length, e);
            return;
        }
        memory.Release(length);
    }

    private bool TryDeregisterReserved(IRmaRegistration registration, long length)
    {
        using RmaSpan span = RmaActivities.Start("rma.deregister", settings, length);
        try
        {
            settings.Context.Deregister(registration);
        }
        catch (Exception e)
        {
            span.Fail(e);
            // Exceptions of all types are caught: the slab is in no class any more, and closing goes on.
            incidents.DeregistrationFailed(length, e);
            return false;
        }
        Interlocked.Increment(ref counters.Deregistrations);
        lifetime.RemoveHolder();
        return true;
    }

    private nint Allocate(long length)
    {
        try
        {
            // Huge pages that are reserved beforehand don't count against the group's limit.
            if (room is null || blocks.PageSize != Environment.SystemPageSize)
                return blocks.Allocate(length, settings.Context.Traits.PagesBackedBeforeRegistering || room is not null);
            using (room.Begin(length))
                return blocks.Allocate(length, populate: true);
        }
        catch (InsufficientMemoryException e)
        {
            counters.CountRegistrationFailure(e, settings.Time);
            throw new RmaRegistrationException(e.Message, "mmap", length, settings.ProviderName, 12, "ENOMEM", e);
        }
    }
}
