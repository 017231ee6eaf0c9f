using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Ucx.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Ucx;

/// <summary>A context of UCX (ucp_init), which registers memory and opens a worker for each endpoint.</summary>
internal sealed unsafe class UcxContext : RmaContext
{
    public const string ProviderName = "ucx";

    private readonly UcxOptions _options;
    private readonly int _threadMode;
    private readonly void* _context;

    private UcxContext(UcxLibrary library, void* context, IReadOnlyList<string> transports, UcxOptions options, int threadMode, ILogger logger, TimeProvider time)
        : base(logger, time)
    {
        Library = library;
        _options = options;
        _threadMode = threadMode;
        _context = context;
        ucp_context_attr attributes = new() { field_mask = UcpField.UCP_ATTR_FIELD_REQUEST_SIZE | UcpField.UCP_ATTR_FIELD_THREAD_MODE };
        sbyte status = library.Exports.ucp_context_query(context, &attributes);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(library, "ucp_context_query", status);
        RequestSize = attributes.request_size;
        Calls = attributes.thread_mode == UcpMode.UCS_THREAD_MODE_MULTI && threadMode == UcpMode.UCS_THREAD_MODE_MULTI ? null : new Lock();
        Traits = new RmaProviderTraits
        {
            ProviderName = ProviderName,
            Addressing = RmaAddressing.VirtualAddress,
            ProviderSelectsKey = true,
            // The length of a key depends on the devices of its owner, so the traits state the maximum.
            RawKeys = true,
            KeySize = RemoteMemory.MaxKeyLength,
            RemoteAccess = true,
            DeliveryComplete = true,
            SendersAreKnown = true,
            UnreceivedMessagesPileUp = true,
            NotificationSize = sizeof(ulong),
            LocksPages = UcxTransports.LockPages(transports),
            LibraryVersion = library.Version,
        };
        LetsPeersCopy = UcxTransports.LetPeersCopy(transports, options.ErrorHandling, NativeEnvironment.Get);
        Log.UcxOpened(logger, ProviderName, library.Version.ToString(), transports.Count == 0 ? "unknown transports" : string.Join(", ", transports));
    }

    public UcxLibrary Library { get; }

    public void* Handle => _context;

    /// <summary>The size of UCX's part of a request.</summary>
    public nuint RequestSize { get; }

    /// <summary>
    /// The lock for each call, if UCX was built without thread support, or if less was requested; null if any thread
    /// may call at any time.
    /// </summary>
    public Lock? Calls { get; }

    /// <summary>The thread mode that is requested for workers.</summary>
    public int ThreadMode => _threadMode;

    public UcxErrorHandling ErrorHandling => _options.ErrorHandling;

    /// <inheritdoc cref="UcxEnvironment.Describe"/>
    public string DescribeTransports() => UcxEnvironment.Describe(_options);

    /// <inheritdoc cref="UcxTransports.LetPeersCopy"/>
    public bool LetsPeersCopy { get; }

    public override RmaProviderTraits Traits { get; }

    public static UcxContext Open(UcxLibrary library, UcxOptions options, int threadMode, ILogger logger, TimeProvider time)
    {
        ucp_params parameters = new()
        {
            field_mask = UcpParam.UCP_PARAM_FIELD_FEATURES | UcpParam.UCP_PARAM_FIELD_TAG_SENDER_MASK | UcpParam.UCP_PARAM_FIELD_MT_WORKERS_SHARED,
            features = UcpFeature.UCP_FEATURE_TAG | UcpFeature.UCP_FEATURE_RMA
                | (options.Endpoint.Progress == RmaProgress.Endpoint ? UcpFeature.UCP_FEATURE_WAKEUP : 0),
            tag_sender_mask = UcxTag.SenderMask,
            mt_workers_shared = 1,
        };
        void* context = null;
        void* config = UcxEnvironment.ReadConfig(library, options, logger);
        InheritanceGuard.Begin();
        try
        {
            sbyte status;
            using (SignalHandlers.Keep())
                status = library.Exports.ucp_init_version(UcxLibrary.ApiMajor, UcxLibrary.ApiMinor, &parameters, config, &context);
            if (status != UcsStatus.UCS_OK)
            {
                context = null;
                throw UcxErrors.Provider(
                    library, "ucp_init", status, $" {UcxEnvironment.Describe(options)} `ucx_info -d` lists what this machine has.{UcxEnvironment.DescribeSettings()}");
            }
            InheritanceGuard.Look();
            IReadOnlyList<string> transports = UcxTransports.Of(library, context);
            UcxDevices.Check(library, options, &parameters, transports, logger);
            return new UcxContext(library, context, transports, options, threadMode, logger, time);
        }
        catch
        {
            if (context != null)
                library.Exports.ucp_cleanup(context);
            InheritanceGuard.End();
            throw;
        }
        finally
        {
            library.Exports.ucp_config_release(config);
        }
    }

    public override IRmaRegistration Register(nint address, long length, RmaAccess access) => Register(address, length, access, UcpProt.UCP_MEM_MAP_PROT_LOCAL_WRITE);

    public override IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) => Register(address, length, access & ~RmaAccess.RemoteWrite, 0);

    public override void Deregister(IRmaRegistration registration)
    {
        if (registration is not UcxRegistration own || own.Context != this || !own.TryEnd())
            throw new ArgumentException("The registration was not made by this context, or was already undone.", nameof(registration));
        sbyte status;
        using (new UcxCall(Calls))
            status = Library.Exports.ucp_mem_unmap(_context, (void*)own.LocalDescriptor);
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Registration(Library, "ucp_mem_unmap", own.Length, status);
    }

    public override IRmaEndpoint OpenEndpoint()
    {
        ThrowIfClosed();
        if (SystemShortage.ShortOfFiles() is { } shortage)
            throw new RmaProviderException($"An endpoint of provider '{ProviderName}' can't be opened: {shortage}");
        var driver = new UcxDriver(this, _options.Endpoint);
        InheritanceGuard.Look();
        try
        {
            return new RmaEndpoint(this, driver, _options.Endpoint);
        }
        catch
        {
            driver.Close(isRecalled: true);
            throw;
        }
    }

    protected override void Close()
    {
        Library.Exports.ucp_cleanup(_context);
        InheritanceGuard.End();
    }

    private UcxRegistration Register(nint address, long length, RmaAccess access, uint protection)
    {
        ArgumentOutOfRangeException.ThrowIfZero(address);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ThrowIfClosed();
        ucp_mem_map_params parameters = new()
        {
            field_mask = UcpField.UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UcpField.UCP_MEM_MAP_PARAM_FIELD_LENGTH
                | UcpField.UCP_MEM_MAP_PARAM_FIELD_PROT | UcpField.UCP_MEM_MAP_PARAM_FIELD_MEMORY_TYPE,
            address = (void*)address,
            length = (nuint)length,
            prot = UcpProt.UCP_MEM_MAP_PROT_LOCAL_READ | protection
                | ((access & RmaAccess.RemoteRead) != 0 ? UcpProt.UCP_MEM_MAP_PROT_REMOTE_READ : 0)
                | ((access & RmaAccess.RemoteWrite) != 0 ? UcpProt.UCP_MEM_MAP_PROT_REMOTE_WRITE : 0),
            memory_type = UcpMode.UCS_MEMORY_TYPE_HOST,
        };
        void* memory;
        sbyte status;
        using (new UcxCall(Calls))
            status = Library.Exports.ucp_mem_map(_context, &parameters, &memory);
        return status == UcsStatus.UCS_OK ? new UcxRegistration(this, (nint)memory, address, length) : throw UcxErrors.Registration(Library, "ucp_mem_map", length, status);
    }
}

/// <summary>The scope of one UCX call, or of several related calls, which holds the lock if calls must be serialized.</summary>
internal readonly ref struct UcxCall
{
    private readonly Lock? _calls;

    public UcxCall(Lock? calls)
    {
        _calls = calls;
        calls?.Enter();
    }

    public void Dispose() => _calls?.Exit();
}
