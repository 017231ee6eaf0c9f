using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Exposes buffers to peers, by the key of their slab or by a registration of their own.</summary>
internal sealed class Exposer
{
    private readonly PoolSettings _settings;
    private readonly PoolMemory _memory;
    private readonly SlabFactory _slabs;
    private readonly Refusals _refusals;
    private readonly IPoolSignals _signals;

    /// <exception cref="NotSupportedException">The provider can't give the access that the pool's options ask for.</exception>
    public Exposer(PoolSettings settings, PoolMemory memory, SlabFactory slabs, Refusals refusals, IPoolSignals signals)
    {
        _settings = settings;
        _memory = memory;
        _slabs = slabs;
        _refusals = refusals;
        _signals = signals;
        RmaProviderTraits traits = settings.Context.Traits;
        RmaAccess remote = settings.Access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        if (remote == RmaAccess.None)
            return;
        if (!traits.RemoteAccess)
            throw new NotSupportedException($"The pool '{settings.Name}' asks for {remote} by its option Access, but the provider '{traits.ProviderName}' gives no remote access: the transport has none, or the provider's own option Access leaves it out.");
        if (!traits.RemoteAccessEnforced)
            Log.RemoteAccessNotEnforced(settings.Logger, settings.Name, traits.ProviderName);
    }

    /// <param name="slab">The slab.</param>
    /// <param name="index">The block.</param>
    /// <param name="lease">The block's lease.</param>
    /// <param name="offset">Bytes from the start of the block.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="access">What peers may do.</param>
    /// <param name="isToOne">Whether it is for a single peer, so that a registration of its own is useful if the transport enforces access.</param>
    public RmaExposure Expose(Slab slab, int index, ulong lease, long offset, long length, RmaAccess access, bool isToOne = false)
    {
        RmaAccess remote = access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        if (remote == RmaAccess.None)
            throw new ArgumentOutOfRangeException(nameof(access), access, "The access must be RemoteRead, RemoteWrite or both.");
        if ((remote & ~_settings.Access) != 0)
            throw new InvalidOperationException($"The pool '{_settings.Name}' is registered for {_settings.Access}, so {remote} can't be granted. Set its option Access to \"{(_settings.Access | remote) & ~RmaAccess.Local}\".");
        if ((remote & RmaAccess.RemoteWrite) != 0 && !slab.IsWritable)
        {
            throw new RmaRegistrationException(
                $"The {InWords.Size(length)} can't be exposed for {remote}: it was registered with the pool '{_settings.Name}' as memory that is only read, or was read-only then. Expose it for RemoteRead, or register writable memory.",
                "expose",
                length,
                _settings.Context.Traits.ProviderName,
                SystemErrors.AccessDenied,
                SystemErrors.NameOf(SystemErrors.AccessDenied));
        }
        slab.Hold(index, lease);
        var hold = new RmaHold(slab, index);
        bool isReachable = false;
        try
        {
            // With PerExposure the slab's own key gives no access (PoolSettings.SlabAccess).
            if (_settings.Isolation == RmaIsolation.Shared && !(isToOne && _settings.Context.Traits.RemoteAccessEnforced))
                return new RmaExposure(Describe(slab.Region.Registration, slab.OffsetOf(index) + offset, length, remote), hold, null);
            ExposureRegistration own = Register(slab.AddressOf(index) + (nint)offset, length, remote, slab.IsWritable);
            try
            {
                return new RmaExposure(Describe(own.Registration, 0, length, remote), hold, own);
            }
            catch
            {
                isReachable = !own.TryEnd();
                throw;
            }
        }
        catch (Exception e)
        {
            if (isReachable || SlabFactory.IsStillRegistered(e))
                hold.Quarantine();
            else
                hold.Release();
            throw;
        }
    }

    /// <summary>
    /// Describes the memory for a peer, with the context's description of the transport if the provider gives none.
    /// </summary>
    private RemoteMemory Describe(IRmaRegistration registration, long offset, long length, RmaAccess access)
    {
        RemoteMemory memory = registration.Describe(offset, length, access);
        return memory.Transport is null && _settings.Context is RmaContext context ? memory.Of(context.Description) : memory;
    }

    private ExposureRegistration Register(nint address, long length, RmaAccess access, bool isWritable)
    {
        if (!_memory.TryReserveWhole(length))
            throw _refusals.Exhausted(length, $"an exposure of {InWords.Size(length)} with a registration of its own");
        try
        {
            return new ExposureRegistration(_slabs, _signals, _slabs.Register(address, length, access | RmaAccess.Local, isWritable), length);
        }
        finally
        {
            _memory.InTransit.Leave(length);
        }
    }
}

/// <summary>The registration that an exposure has of its own, with a key of its own.</summary>
internal sealed class ExposureRegistration(SlabFactory slabs, IPoolSignals signals, IRmaRegistration registration, long length)
{
    public IRmaRegistration Registration => registration;

    /// <summary>Ends the registration. Returns false if the provider refused: a peer may still reach the memory.</summary>
    public bool TryEnd()
    {
        bool ended = slabs.TryDeregister(registration, length);
        signals.AfterRelease();
        return ended;
    }
}
