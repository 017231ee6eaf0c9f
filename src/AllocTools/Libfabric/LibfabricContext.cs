using System.Security.Cryptography;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>A fabric and a domain; if registrations are bound to an endpoint (FI_MR_ENDPOINT), also that endpoint.</summary>
internal sealed unsafe class LibfabricContext : RmaContext
{
    private const int KeyTries = 16;
    private const string CloseDomain = "fi_close (domain)";
    private const string CloseFabric = "fi_close (fabric)";

    private readonly FabricHandle _fabric;
    private readonly DomainHandle _domain;
    private readonly LibfabricOptions _options;
    private readonly LibfabricKeys? _keys;
    private readonly LibfabricEndpointResources? _boundEndpoint;
    private readonly RmaAccess _mostAccess;
    private int _boundEndpointTaken;

    private LibfabricContext(
        LibfabricLibrary library,
        InfoHandle info,
        FabricHandle fabric,
        DomainHandle domain,
        LibfabricEndpointResources? boundEndpoint,
        RmaProviderTraits traits,
        LibfabricOptions options,
        ILogger logger,
        TimeProvider time)
        : base(logger, time)
    {
        Library = library;
        Info = info;
        Logger = logger;
        Traits = traits;
        _fabric = fabric;
        _domain = domain;
        _boundEndpoint = boundEndpoint;
        _options = options;
        _mostAccess = options.Access | RmaAccess.Local;
        _keys = traits.ProviderSelectsKey ? null : new LibfabricKeys(traits.KeySize);
    }

    public LibfabricLibrary Library { get; }

    public InfoHandle Info { get; }

    public ILogger Logger { get; }

    /// <summary>Whether a write's notification is a separate message that follows the write.</summary>
    public bool NotifiesByTags => Traits.NotificationSize != 0 && TaggedNotifications.AreNeeded(Info.Info, Traits.ProviderName);

    public FabricHandle Fabric => _fabric;

    public DomainHandle Domain => _domain;

    /// <summary>The widest access that the context's registrations may grant.</summary>
    public RmaAccess GrantedAccess => _mostAccess;

    public override RmaProviderTraits Traits { get; }

    /// <summary>Opens a fabric and a domain. The context owns the info once this returns.</summary>
    public static LibfabricContext Open(LibfabricLibrary library, InfoHandle info, LibfabricOptions options, ILogger logger, TimeProvider time)
    {
        RmaProviderTraits traits = LibfabricTraits.Of(info, library.Version);
        FabricHandle? fabric = null;
        DomainHandle? domain = null;
        LibfabricEndpointResources? bound = null;
        InheritanceGuard.Begin();
        try
        {
            Check(library.OpenFabric(info.Info->fabric_attr, out fabric), "fi_fabric");
            Check(fabric!.OpenDomain(info.Info, out domain), "fi_domain");
            if (traits.RegistrationsBoundToEndpoint)
                bound = LibfabricEndpointResources.Open(library, info, fabric, domain!, traits.ProviderName, options, logger);
            InheritanceGuard.Look();
            return new LibfabricContext(library, info, fabric, domain!, bound, traits, options, logger, time);
        }
        catch
        {
            bound?.Dispose();
            domain.CloseLogged(logger, CloseDomain);
            fabric.CloseLogged(logger, CloseFabric);
            InheritanceGuard.End();
            throw;
        }

        void Check(int status, string operation)
        {
            if (status != 0)
                throw LibfabricErrors.Provider(library, traits.ProviderName, operation, status);
        }
    }

    public override IRmaRegistration Register(nint address, long length, RmaAccess access) =>
        Register(address, length, access, FiCaps.FI_SEND | FiCaps.FI_RECV | FiCaps.FI_READ | FiCaps.FI_WRITE);

    /// <summary>
    /// Registers memory without requesting any access that writes to it: verbs would pin the pages for writing, which the
    /// kernel refuses.
    /// </summary>
    public override IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) =>
        Register(address, length, access & ~RmaAccess.RemoteWrite, FiCaps.FI_SEND | FiCaps.FI_WRITE);

    private LibfabricRegistration Register(nint address, long length, RmaAccess access, ulong local)
    {
        ArgumentOutOfRangeException.ThrowIfZero(address);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if ((access & ~_mostAccess) != 0)
            throw new NotSupportedException($"The provider's option Access is {_options.Access}, so memory can't be registered for {access & ~_mostAccess}.");
        ThrowIfClosed();
        MrHandle handle = Open(address, length, local | RemoteFlags(access), out ulong? ownKey);
        try
        {
            if (_boundEndpoint is not null)
            {
                Check(handle.Bind(_boundEndpoint.Endpoint), "fi_mr_bind", length);
                Check(handle.Enable(), "fi_mr_enable", length);
            }
            ulong key = FiConstants.FI_KEY_NOTAVAIL;
            ulong rawBase = 0;
            byte[]? rawKey = Traits.RawKeys ? ReadRawKey(handle, length, out rawBase) : null;
            if (rawKey is null)
                key = handle.Key;
            return new LibfabricRegistration(Traits, Description, handle, address, length, ownKey, key, rawKey, rawBase);
        }
        catch (Exception e)
        {
            int status = Close(handle);
            if (status != 0)
                throw LibfabricErrors.StillRegistered(Library, Traits.ProviderName, length, e, status);
            ReleaseKey(ownKey);
            throw;
        }
    }

    public override void Deregister(IRmaRegistration registration)
    {
        if (registration is not LibfabricRegistration own)
            throw new ArgumentException("The registration was not made by this provider.", nameof(registration));
        int status = Close(own.Handle);
        if (status != 0)
            throw LibfabricErrors.Registration(Library, Traits.ProviderName, "fi_close (registration)", own.Length, status);
        ReleaseKey(own.OwnKey);
    }

    public override IRmaEndpoint OpenEndpoint()
    {
        ThrowIfClosed();
        if (_options.Endpoint.CompletionLevel == LibfabricCompletionLevel.Delivery && !Traits.DeliveryComplete)
        {
            throw new RmaProviderException(
                $"The provider '{Traits.ProviderName}' can't report when bytes have arrived (FI_DELIVERY_COMPLETE). "
                + "Set Provider:Endpoint:CompletionLevel to Transmit, and tell peers by a message where the traits say that its order is kept.");
        }
        if (_boundEndpoint is not null && Interlocked.Exchange(ref _boundEndpointTaken, 1) != 0)
        {
            throw new InvalidOperationException(
                $"The provider '{Traits.ProviderName}' binds registrations to one endpoint (FI_MR_ENDPOINT), and this context's endpoint has already been opened. Use that one, or open another context.");
        }
        LibfabricEndpointResources? own = null;
        LibfabricDriver? driver = null;
        try
        {
            if (_boundEndpoint is null)
            {
                if (SystemShortage.ShortOfFiles() is { } shortage)
                    throw new RmaProviderException($"An endpoint of provider '{Traits.ProviderName}' can't be opened: {shortage}", FiErrno.FI_EMFILE, nameof(FiErrno.FI_EMFILE));
                // The context must not close while these objects are being opened.
                using IDisposable lease = Retain();
                own = LibfabricEndpointResources.Open(Library, Info, _fabric, _domain, Traits.ProviderName, _options, Logger);
            }
            LibfabricEndpointResources resources = own ?? _boundEndpoint!;
            driver = new LibfabricDriver(this, resources, ownsResources: own is not null, _options);
            if (UncheckedSegments.FindAdvice(Traits.ProviderName, Library.Version, Info.Info->addr_format, resources.Address) is { } advice)
                Log.PortIsOpen(Logger, Traits.ProviderName, Library.Version, advice);
            return new LibfabricEndpoint(this, driver, _options.Endpoint);
        }
        catch
        {
            if (driver is not null)
                driver.Close(isRecalled: true);
            else
                own?.Dispose();
            Volatile.Write(ref _boundEndpointTaken, 0);
            throw;
        }
    }

    internal override TransportDescription Describe() => new()
    {
        Provider = Traits.ProviderName,
        Protocol = (Info.Info->ep_attr->protocol, Info.Info->ep_attr->protocol_version),
        Library = Library.Version,
        AddressFormat = (uint)Info.Info->addr_format,
        Words = TransportDescription.OwnWords,
        Keys = (Traits.Addressing, Traits.RawKeys, (ushort)Traits.KeySize),
        Context = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))),
    };

    /// <summary>Makes a peer's raw key usable (fi_mr_map_raw).</summary>
    public ulong MapRawKey(ulong rawBase, ReadOnlySpan<byte> rawKey)
    {
        int status = _domain.MapRaw(rawBase, rawKey, out ulong key);
        return status == 0 ? key : throw LibfabricErrors.Provider(Library, Traits.ProviderName, "fi_mr_map_raw", status);
    }

    public void UnmapRawKey(ulong key)
    {
        int status = _domain.UnmapKey(key);
        if (status != 0)
            Log.CloseFailed(Logger, "fi_mr_unmap_key", FiErrno.NameOf(status));
    }

    protected override void Close()
    {
        // Registrations and endpoints are closed by now, or keep the objects that they need open themselves.
        _boundEndpoint?.Dispose();
        _domain.CloseLogged(Logger, CloseDomain);
        _fabric.CloseLogged(Logger, CloseFabric);
        Info.Dispose();
        InheritanceGuard.End();
    }

    private MrHandle Open(nint address, long length, ulong access, out ulong? ownKey)
    {
        ownKey = null;
        int status = -FiErrno.FI_ENOKEY;
        // Another user of the domain may have a key that this context considers free.
        for (int tries = 0; tries < KeyTries && status == -FiErrno.FI_ENOKEY; tries++)
        {
            if (_keys is not null)
            {
                if (!_keys.TryTake(out ulong free))
                    break;
                ownKey = free;
            }
            iovec range = new() { iov_base = (void*)address, iov_len = (nuint)length };
            fi_mr_attr attributes = new()
            {
                mr_iov = &range,
                iov_count = 1,
                access = access,
                requested_key = ownKey ?? 0,
                iface = fi_hmem_iface.FI_HMEM_SYSTEM,
            };
            status = _domain.RegisterMemory(&attributes, 0, out MrHandle? handle);
            if (status == 0)
                return handle!;
            ReleaseKey(ownKey);
            ownKey = null;
        }
        throw LibfabricErrors.Registration(Library, Traits.ProviderName, "fi_mr_regattr", length, status);
    }

    private byte[] ReadRawKey(MrHandle handle, long length, out ulong rawBase)
    {
        Span<byte> room = stackalloc byte[RemoteMemory.MaxKeyLength];
        Check(handle.GetRawAttributes(out rawBase, room, out nuint size), "fi_mr_raw_attr", length);
        return room[..(int)size].ToArray();
    }

    private void Check(int status, string operation, long length)
    {
        if (status != 0)
            throw LibfabricErrors.Registration(Library, Traits.ProviderName, operation, length, status);
    }

    private void ReleaseKey(ulong? ownKey)
    {
        if (ownKey is ulong key)
            _keys!.Release(key);
    }

    private static int Close(MrHandle handle)
    {
        handle.Dispose();
        // The registration is not closed if something still uses it, so its memory can still be accessed.
        return handle.IsReleased ? handle.CloseStatus : -FiErrno.FI_EBUSY;
    }

    private static ulong RemoteFlags(RmaAccess access)
    {
        ulong flags = 0;
        if ((access & RmaAccess.RemoteRead) != 0)
            flags |= FiCaps.FI_REMOTE_READ;
        if ((access & RmaAccess.RemoteWrite) != 0)
            flags |= FiCaps.FI_REMOTE_WRITE;
        return flags;
    }
}
