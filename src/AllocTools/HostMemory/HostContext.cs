using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.HostMemory;

/// <summary>Registers memory by locking its pages and giving it a key within the process.</summary>
internal sealed class HostContext(HostProviderOptions options, ILogger logger) : RmaContext(logger)
{
    public const string ProviderName = "host";

    private int _shortfallLogged;

    public override RmaProviderTraits Traits { get; } = new()
    {
        ProviderName = ProviderName,
        Addressing = RmaAddressing.Offset,
        ProviderSelectsKey = true,
        RemoteAccess = true,
        RemoteAccessEnforced = true,
        DeliveryComplete = true,
        SendAfterWriteOrdered = true,
        SendersAreKnown = true,
        NotificationSize = sizeof(ulong),
        LocksPages = options.Locking == PageLocking.Required,
    };

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfZero(address);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ThrowIfClosed();
        bool locked = options.Locking != PageLocking.None && TryLock(address, length);
        return HostFabric.Add(Description, address, length, access, locked);
    }

    public override void Deregister(IRmaRegistration registration)
    {
        if (registration is not HostRegistration host || !HostFabric.TryRemove(host))
            throw new ArgumentException("The registration was not made by this provider, or was already undone.", nameof(registration));
        // This waits for a peer that is copying now; later ones find nothing.
        host.Close();
        if (!host.IsLocked)
            return;
        int error = PageLockTable.Unlock(host.Address, host.Length);
        if (error != 0)
            throw Failed("munlock", host.Length, error);
    }

    public override IRmaEndpoint OpenEndpoint()
    {
        ThrowIfClosed();
        var driver = new HostDriver();
        try
        {
            return new RmaEndpoint(this, driver, options.Endpoint);
        }
        catch
        {
            driver.Close(isRecalled: true);
            throw;
        }
    }

    private bool TryLock(nint address, long length)
    {
        int error = PageLockTable.Lock(address, length);
        if (error == 0)
            return true;
        if (options.Locking == PageLocking.Required)
            throw Failed("mlock", length, error);
        if (Interlocked.Exchange(ref _shortfallLogged, 1) == 0)
            Log.LockingFellShort(Health.Logger, length, SystemPages.Describe(error), MemoryLockLimit.Describe(), MemoryLockLimit.HowToRaise());
        return false;
    }

    private static RmaRegistrationException Failed(string operation, long length, int error) => new(
        $"{operation} of {InWords.Size(length)} failed with {SystemPages.Describe(error)} (provider '{ProviderName}'). {MemoryLockLimit.Explain(error)}".TrimEnd(),
        operation,
        length,
        ProviderName,
        error,
        SystemErrors.NameOf(error));
}
