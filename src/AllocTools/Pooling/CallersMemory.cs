using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Registers memory that callers own: it looks up what the memory allows, reserves its bytes below the cap, and has its pages backed if the provider demands that.</summary>
internal sealed class CallersMemory(PoolSettings settings, PoolCounters counters, PoolMemory memory, SlabFactory slabs, Refusals refusals)
{
    private const string BehindTheEnd = "its last page is behind the end of the file that is mapped there. The file has become shorter since it was mapped; map it again";

    /// <summary>Checks whether memory of that length may be registered at all.</summary>
    /// <param name="length">Bytes.</param>
    /// <param name="name">The name of the caller's parameter that gives the length.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or over the cap.</exception>
    public void CheckLength(long length, string name)
    {
        if (length <= 0 || length > memory.Budget.Limit)
            ThrowLength(length, name);
    }

    /// <summary>
    /// Registers memory. Its bytes are then in transit (<see cref="MemoryInTransit"/>) until the caller has put the
    /// region where others see it, and ends that. If registering fails, they are not.
    /// </summary>
    /// <param name="address">The first byte; not 0.</param>
    /// <param name="length">Bytes, which <see cref="Refusals.CheckRequest"/> has passed.</param>
    /// <param name="isManaged">Whether it belongs to the garbage collector, so that it is mapped and writable.</param>
    /// <param name="isReadOnly">Whether to register it as memory that is only read, whatever the process may do with it.</param>
    /// <param name="addressName">The name of the caller's parameter that gives the address.</param>
    public MemoryRegion Register(nint address, long length, bool isManaged, bool isReadOnly, string addressName = "address")
    {
        // If the system does not report the rights, the memory is assumed to be readable and writable, as most is.
        MemoryRights rights = (isManaged ? null : MemoryMap.RightsOf(address, length)) ?? MemoryRights.All;
        if (rights.UnmappedAt is { } at)
            throw Unusable(length, $"the byte at offset {at} is not mapped");
        if (!rights.IsReadable)
            throw Unusable(length, "some of it may not be read (PROT_NONE)");
        int alignment = settings.Context.Traits.Alignment;
        if (address % alignment != 0)
            throw new ArgumentOutOfRangeException(addressName, $"The address must be a multiple of {alignment}: the provider '{settings.ProviderName}' demands that.");
        if (!memory.TryReserveWhole(length))
            throw refusals.Exhausted(length, $"{InWords.Size(length)} of the caller's memory");
        bool isWritable = rights.IsWritable && !isReadOnly;
        RmaAccess access = isWritable ? settings.SlabAccess : settings.SlabAccess & ~RmaAccess.RemoteWrite;
        try
        {
            if (settings.Context.Traits.PagesBackedBeforeRegistering)
                Back(address, length, isWritable);
            IRmaRegistration registration = slabs.Register(address, length, access, isWritable);
            if (!isManaged && IsBehindTheEnd(address + (nint)(length - 1)))
                throw Unusable(length, BehindTheEnd, isStillRegistered: !slabs.TryDeregister(registration, length));
            return new MemoryRegion(address, length, access, registration, isWritable);
        }
        catch
        {
            memory.InTransit.Leave(length);
            throw;
        }
    }

    /// <summary>Checks the end of registered memory again.</summary>
    /// <exception cref="RmaRegistrationException">A file that is mapped there has become shorter.</exception>
    public void CheckEnd(nint address, long length)
    {
        if (IsBehindTheEnd(address + (nint)(length - 1)))
            throw Unusable(length, BehindTheEnd);
    }

    /// <summary>
    /// Whether the kernel has no page of a mapped file there, so that reading it would end the process by SIGBUS. A
    /// file that becomes shorter loses its last page first, so only that page is checked; others would be read from the
    /// disk. The check follows the registration, because a transport that looks at the memory reports its own error.
    /// </summary>
    private static bool IsBehindTheEnd(nint last) => SystemPages.PopulateInUse(last, 1, isWritable: false) == SystemErrors.BadAddress;

    /// <summary>Backs memory with pages. Its bytes were reserved; on failure the reservation is released.</summary>
    private void Back(nint address, long length, bool isWritable)
    {
        int error = SystemPages.PopulateInUse(address, (nuint)length, isWritable);
        if (error == 0)
            return;
        var failure = new RmaRegistrationException(
            $"The {InWords.Size(length)} of the caller's memory can't be backed with pages, as the provider '{settings.ProviderName}' demands: madvise failed with {SystemPages.Describe(error)}. The system has no memory left, or the end of a mapped file was passed.",
            "madvise",
            length,
            settings.ProviderName,
            error,
            SystemErrors.NameOf(error));
        counters.CountRegistrationFailure(failure, settings.Time);
        memory.Release(length);
        throw failure;
    }

    [DoesNotReturn]
    private void ThrowLength(long length, string name) => throw new ArgumentOutOfRangeException(
        name, length, $"Memory that is registered with the pool '{settings.Name}' must be between 1 byte and {InWords.Size(memory.Budget.Limit)} long (its option MaxRegisteredBytes).");

    private RmaRegistrationException Unusable(long length, string why, bool isStillRegistered = false) => new(
        $"The {InWords.Size(length)} of the caller's memory can't be registered with the pool '{settings.Name}': {why}.",
        "register",
        length,
        settings.ProviderName,
        SystemErrors.BadAddress,
        SystemErrors.NameOf(SystemErrors.BadAddress))
    {
        IsStillRegistered = isStillRegistered,
    };

    /// <summary>
    /// Keeps callers' memory in place permanently if a registration could not be undone, because a transport may still reach it.
    /// It is static: if only the pool or the owner referred to the memory, it would be freed with them.
    /// </summary>
    internal static class LastingPins
    {
        private static readonly ConcurrentQueue<object> Kept = [];

        public static void Keep(object pin) => Kept.Enqueue(pin);
    }
}
