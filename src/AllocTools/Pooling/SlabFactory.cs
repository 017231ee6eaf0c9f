using AllocTools.Blocks;
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
        try
        {
            // First, so that nothing can fail once the memory is registered.
            states = Slab.AllocateStates(blockSize, blockCount);
            address = Allocate(reservedBytes);
        }
        catch
        {
            engine.Memory.Release(reservedBytes);
            throw;
        }
        IRmaRegistration registration;
        try
        {
            registration = Register(address, reservedBytes, engine.SlabAccess);
        }
        catch (Exception e) when (!IsStillRegistered(e))
        {
            blocks.Free(address, reservedBytes);
            throw;
        }
        return new Slab(owner, new MemoryRegion(address, reservedBytes, engine.SlabAccess, registration), blockSize, blockCount, states);
    }

    /// <summary>
    /// Registers memory whose bytes were reserved. On failure the reservation is released, unless the memory
    /// <see cref="IsStillRegistered"/>.
    /// </summary>
    public IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        engine.AddRegion();
        using RmaSpan span = RmaActivities.Start("rma.register", engine, length);
        long started = engine.Time.GetTimestamp();
        try
        {
            IRmaRegistration registration = engine.Context.Register(address, length, access, RmaMemoryKind.Host);
            Interlocked.Increment(ref engine.Counters.Registrations);
            engine.Instruments?.RecordRegistration(engine.Time.GetElapsedTime(started), null);
            return registration;
        }
        catch (Exception e)
        {
            span.Fail(e);
            engine.Instruments?.RecordRegistration(engine.Time.GetElapsedTime(started), RmaTags.ErrorTypeOf(e));
            engine.CountRegistrationFailure(e);
            if (IsStillRegistered(e))
            {
                // The transport may reach it for ever: it stays on the books, and keeps the context open.
                CountDeregistrationFailure(length, e);
                throw;
            }
            engine.Memory.Release(length);
            engine.RemoveRegion();
            throw;
        }
    }

    /// <summary>Whether registering memory failed in a way after which the memory must stay mapped.</summary>
    public static bool IsStillRegistered(Exception e) => e is RmaRegistrationException { IsStillRegistered: true };

    /// <summary>Undoes a registration and releases its bytes. False: it could not be undone, the memory must stay mapped.</summary>
    public bool TryDeregister(IRmaRegistration registration, long length)
    {
        using RmaSpan span = RmaActivities.Start("rma.deregister", engine, length);
        try
        {
            engine.Context.Deregister(registration);
        }
        catch (Exception e)
        {
            span.Fail(e);
            // Of whatever kind: the slab is off the books, and closing goes on.
            CountDeregistrationFailure(length, e);
            return false;
        }
        Interlocked.Increment(ref engine.Counters.Deregistrations);
        engine.Memory.Release(length);
        engine.RemoveRegion();
        return true;
    }

    private void CountDeregistrationFailure(long length, Exception e)
    {
        Interlocked.Increment(ref engine.Counters.DeregistrationFailures);
        Log.DeregistrationFailed(engine.Logger, engine.Name, length, e);
    }

    private nint Allocate(long length)
    {
        try
        {
            return blocks.Allocate(length, engine.Context.Traits.PagesBackedBeforeRegistering);
        }
        catch (InsufficientMemoryException e)
        {
            engine.CountRegistrationFailure(e);
            throw new RmaRegistrationException(e.Message, "mmap", length, engine.Context.Traits.ProviderName, 12, "ENOMEM", e);
        }
    }

    /// <summary>Deregisters, then unmaps.</summary>
    public void Destroy(Slab slab)
    {
        if (TryDeregister(slab.Region.Registration, slab.Region.Length))
            blocks.Free(slab.Region.Address, slab.Region.Length);
    }
}
