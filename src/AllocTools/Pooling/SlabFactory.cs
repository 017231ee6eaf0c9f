using AllocTools.Blocks;
using AllocTools.Buffers;
using AllocTools.Diagnostics;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>Makes registered memory and gives it back: budget, pages, registration, and the same backwards.</summary>
/// <remarks>Each step that fails undoes those before it. Nothing here runs under a lock.</remarks>
internal sealed class SlabFactory(PoolEngine engine, IBlockAllocator blocks)
{
    public int PageSize => blocks.PageSize;

    public long RoundToPages(long length) => (length + PageSize - 1) / PageSize * PageSize;

    /// <summary>Registers fresh memory whose bytes were reserved. On failure the reservation is released.</summary>
    public Slab Create(SlabOwner owner, long reservedBytes, long blockSize, int blockCount)
    {
        ulong[] states;
        nint address;
        ArrayBlocks? arrays = null;
        try
        {
            // First, so that nothing can fail once the memory is registered.
            states = Slab.AllocateStates(blockSize, blockCount);
            address = Allocate(reservedBytes);
            if (blocks is PinnedArrayAllocator)
                arrays = new ArrayBlocks(PinnedArrayAllocator.ArrayAt(address), address, blockSize, blockCount);
        }
        catch
        {
            engine.Memory.Release(reservedBytes);
            throw;
        }
        IRmaRegistration registration;
        try
        {
            registration = RegisterReserved(address, reservedBytes, engine.SlabAccess);
        }
        catch (Exception e) when (!IsStillRegistered(e))
        {
            Unmap(address, reservedBytes);
            throw;
        }
        return new Slab(owner, new MemoryRegion(address, reservedBytes, engine.SlabAccess, registration), blockSize, blockCount, states) { ChecksPointers = engine.ChecksPointers, Arrays = arrays };
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
            engine.Memory.Release(length);
            throw;
        }
    }

    /// <summary>As <see cref="Register"/>, but the reservation stays.</summary>
    private IRmaRegistration RegisterReserved(nint address, long length, RmaAccess access, bool isWritable = true)
    {
        engine.AddRegion();
        using RmaSpan span = RmaActivities.Start("rma.register", engine, length);
        long started = engine.Time.GetTimestamp();
        try
        {
            IRmaRegistration registration = RegisterByProvider(address, length, access, isWritable);
            Interlocked.Increment(ref engine.Counters.Registrations);
            engine.Instruments?.RecordRegistration(engine.Time.GetElapsedTime(started), null);
            return registration;
        }
        catch (Exception e)
        {
            span.Fail(e);
            engine.Instruments?.RecordRegistration(engine.Time.GetElapsedTime(started), RmaTags.ErrorTypeOf(e));
            engine.Counters.CountRegistrationFailure(e, engine.Time);
            if (IsStillRegistered(e))
            {
                // The transport may reach it for ever: it stays reserved, and keeps the context open.
                engine.Incidents.DeregistrationFailed(length, e);
                throw;
            }
            engine.RemoveRegion();
            throw;
        }
    }

    /// <summary>Has the provider register memory. Where it refuses, for the system's limits may be reached, idle cached registrations give way, and it is asked once more.</summary>
    private IRmaRegistration RegisterByProvider(nint address, long length, RmaAccess access, bool isWritable)
    {
        try
        {
            return Register();
        }
        catch (RmaRegistrationException e) when (!e.IsStillRegistered)
        {
            if (engine.Caches.Reclaim(length) == 0)
                throw;
        }
        return Register();

        IRmaRegistration Register() => isWritable ? engine.Context.Register(address, length, access) : engine.Context.RegisterReadOnly(address, length, access);
    }

    /// <summary>Whether registering memory failed in a way after which the memory must stay mapped.</summary>
    public static bool IsStillRegistered(Exception e) => e is RmaRegistrationException { IsStillRegistered: true };

    /// <summary>Undoes a registration and releases its bytes. False: it could not be undone, the memory must stay mapped.</summary>
    public bool TryDeregister(IRmaRegistration registration, long length)
    {
        if (!TryDeregisterReserved(registration, length))
            return false;
        engine.Memory.Release(length);
        return true;
    }

    /// <summary>Deregisters, then unmaps. What can't be given back stays reserved, so that a pool never takes more than its cap.</summary>
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
            // Of whatever kind, from an allocator of whomever: who returns a buffer or closes the pool can't help it.
            engine.Incidents.UnmapFailed(length, e);
            return;
        }
        engine.Memory.Release(length);
    }

    private bool TryDeregisterReserved(IRmaRegistration registration, long length)
    {
        using RmaSpan span = RmaActivities.Start("rma.deregister", engine, length);
        try
        {
            engine.Context.Deregister(registration);
        }
        catch (Exception e)
        {
            span.Fail(e);
            // Of whatever kind: the slab is in no class any more, and closing goes on.
            engine.Incidents.DeregistrationFailed(length, e);
            return false;
        }
        Interlocked.Increment(ref engine.Counters.Deregistrations);
        engine.RemoveRegion();
        return true;
    }

    private nint Allocate(long length)
    {
        try
        {
            // Huge pages that are reserved beforehand don't count against the group's limit.
            if (engine.Room is not { } room || PageSize != Environment.SystemPageSize)
                return blocks.Allocate(length, engine.Context.Traits.PagesBackedBeforeRegistering || engine.Room is not null);
            using (room.Begin(length))
                return blocks.Allocate(length, populate: true);
        }
        catch (InsufficientMemoryException e)
        {
            engine.Counters.CountRegistrationFailure(e, engine.Time);
            throw new RmaRegistrationException(e.Message, "mmap", length, engine.Context.Traits.ProviderName, 12, "ENOMEM", e);
        }
    }
}
