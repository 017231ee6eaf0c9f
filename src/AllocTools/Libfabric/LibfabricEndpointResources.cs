using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>The native objects of an endpoint: address vector, completion queue, endpoint; opened, bound and enabled.</summary>
internal sealed unsafe class LibfabricEndpointResources : IDisposable
{
    private const int AddressRoom = 512;
    private const string CloseQueue = "fi_close (completion queue)";
    private readonly ILogger _logger;
    private readonly SharedMemoryFile? _file;
    private readonly InProcessPeers? _inProcess;
    private readonly Func<LibfabricEndpointResources, TransmitLane> _openLane;

    private LibfabricEndpointResources(EndpointHandle endpoint, CqHandle queue, AvHandle vector, byte[] address, int waitDescriptor, SharedMemoryFile? file, Func<LibfabricEndpointResources, TransmitLane> openLane, ILogger logger)
    {
        Endpoint = endpoint;
        Queue = queue;
        Vector = vector;
        Address = address;
        WaitDescriptor = waitDescriptor;
        _file = file;
        _inProcess = file is null ? null : InProcessPeers.Enter(file.FullName);
        _openLane = openLane;
        _logger = logger;
    }

    public EndpointHandle Endpoint { get; }

    public CqHandle Queue { get; }

    public AvHandle Vector { get; }

    public byte[] Address { get; }

    /// <summary>The other endpoints of this process, if peers reach each other through files (<see cref="SharedMemoryFile"/>); otherwise null.</summary>
    public InProcessPeers? InProcess => _inProcess;

    /// <summary>The doorbell by which peers wake the endpoint's thread; null if they can't.</summary>
    public Doorbell? Bell => _file?.Bell;

    /// <summary>The completion queue's file descriptor to wait on; -1 where the provider has none.</summary>
    public int WaitDescriptor { get; }

    /// <summary>
    /// Whether the native endpoint is closed, so that it has dropped outstanding operations and no longer accesses
    /// memory.
    /// </summary>
    public bool IsEndpointClosed => Endpoint.IsReleased && Endpoint.CloseStatus == 0;

    public static LibfabricEndpointResources Open(
        LibfabricLibrary library, InfoHandle info, FabricHandle fabric, DomainHandle domain, string provider, LibfabricOptions options, ILogger logger)
    {
        AvHandle? vector = null;
        CqHandle? queue = null;
        EndpointHandle? endpoint = null;
        SharedMemoryFile? file = null;
        try
        {
            var vectorAttributes = new fi_av_attr
            {
                type = info.Info->domain_attr->av_type == fi_av_type.FI_AV_UNSPEC ? fi_av_type.FI_AV_MAP : info.Info->domain_attr->av_type,
            };
            Check(domain.OpenAv(&vectorAttributes, out vector), "fi_av_open");
            int waitDescriptor = OpenQueue(domain, fabric, options.Endpoint, logger, out queue, out int status);
            Check(status, "fi_cq_open");
            endpoint = OpenEndpoint(queue!, vector!, mayWait: true, out file);
            return new LibfabricEndpointResources(endpoint, queue!, vector!, NameOf(endpoint), waitDescriptor, file, OpenLane, logger);
        }
        catch
        {
            CloseAll(logger, endpoint, queue, vector, file);
            throw;
        }

        TransmitLane OpenLane(LibfabricEndpointResources with)
        {
            // The holder of the turn must not wait; it tries again at its next check.
            EndpointHandle lane = OpenEndpoint(with.Queue, with.Vector, mayWait: false, out SharedMemoryFile? file);
            lane.Acquire();
            return new TransmitLane(lane, file);
        }

        EndpointHandle OpenEndpoint(CqHandle queue, AvHandle vector, bool mayWait, out SharedMemoryFile? file)
        {
            file = null;
            Check(domain.OpenEndpoint(info.Info, out EndpointHandle? opened), "fi_endpoint");
            try
            {
                Check(opened!.Bind(vector, 0), "fi_ep_bind (address vector)");
                Check(opened.Bind(queue, FiCaps.FI_SEND | FiCaps.FI_RECV), "fi_ep_bind (completion queue)");
                if (OperatingSystem.IsLinux() && LibfabricDiscovery.IsSharedMemory(provider))
                    file = SharedMemoryFile.Make(() => Check(opened.Enable(), "fi_enable"), NameOf(opened), mayWait, logger);
                else
                    Check(opened.Enable(), "fi_enable");
                InheritanceGuard.Look();
                return opened;
            }
            catch
            {
                opened.CloseLogged(logger, "fi_close (endpoint)");
                file?.Dispose();
                file = null;
                throw;
            }
        }

        byte[] NameOf(EndpointHandle opened)
        {
            Span<byte> name = stackalloc byte[AddressRoom];
            Check(opened.GetName(name, out nuint length), "fi_getname");
            return name[..(int)length].ToArray();
        }

        void Check(int status, string operation)
        {
            if (status != 0)
                throw LibfabricErrors.Provider(library, provider, operation, status, WhereTo(options, status) + QueueAdvice(provider, operation, status) + PortAdvice(options, status));
        }
    }

    /// <summary>The address to bind to, for errors such as an address of another machine.</summary>
    private static string WhereTo(LibfabricOptions options, int status) => string.IsNullOrEmpty(options.Node) || LibfabricDiscovery.IsSharedMemory(options.Provider)
        ? ""
        : $" Node is '{options.Node}'{(string.IsNullOrEmpty(options.Service) ? "" : $", Service '{options.Service}'")}.{(status == -FiErrno.FI_EADDRNOTAVAIL ? " It must be an address of this machine." : "")}";

    private static string PortAdvice(LibfabricOptions options, int status) =>
        status == -FiErrno.FI_EADDRINUSE && string.IsNullOrEmpty(options.Service) && SystemShortage.ExplainPort(-status) is { Length: > 0 } advice ? " " + advice : "";

    /// <summary>
    /// ofi_rxm requests a queue with room for all peers from the device; Soft-RoCE does not support one that is long
    /// enough for the default.
    /// </summary>
    private static string QueueAdvice(string provider, string operation, int status) =>
        operation == "fi_enable" && status == -FiErrno.FI_EINVAL && provider.StartsWith("verbs", StringComparison.Ordinal) && provider.Contains("ofi_rxm", StringComparison.Ordinal)
            ? " The likely cause: the device has no queue for as many peers as FI_UNIVERSE_SIZE says (256 where it is not set). Set it to the number of peers, in the environment or by Settings:FI_UNIVERSE_SIZE."
            : "";

    /// <summary>Opens one more native endpoint with the same address vector and completion queue.</summary>
    public TransmitLane OpenLane() => _openLane(this);

    /// <summary>Called when peers must know that it is closed, and no call for it runs or will come.</summary>
    /// <param name="close">Closes it, immediately or when no other endpoint of this process uses its memory any more.
    /// It must not throw.</param>
    public void Leave(Action close)
    {
        _file?.Dispose();
        if (_inProcess is null)
            close();
        else
            _inProcess.Leave(close);
    }

    /// <summary>Closes the endpoint, then the objects that it used. Objects that are still needed are closed later.</summary>
    public void Close() => CloseAll(_logger, Endpoint, Queue, Vector, _file);

    /// <summary>Closes objects that no driver has taken over.</summary>
    public void Dispose() => Leave(Close);

    private static void CloseAll(ILogger logger, EndpointHandle? endpoint, CqHandle? queue, AvHandle? vector, SharedMemoryFile? file)
    {
        endpoint.CloseLogged(logger, "fi_close (endpoint)");
        queue.CloseLogged(logger, CloseQueue);
        vector.CloseLogged(logger, "fi_close (address vector)");
        file?.Dispose();
    }

    private static int OpenQueue(DomainHandle domain, FabricHandle fabric, LibfabricEndpointOptions options, ILogger logger, out CqHandle? queue, out int status)
    {
        var attributes = new fi_cq_attr
        {
            size = (nuint)options.MaxOutstanding + TaggedNotifications.Receives + 1,
            format = fi_cq_format.FI_CQ_FORMAT_TAGGED,
            wait_obj = fi_wait_obj.FI_WAIT_FD,
        };
        if (options.Progress == RmaProgress.Endpoint && DescriptorWait.IsSupported)
        {
            status = domain.OpenCq(&attributes, out queue);
            if (status == 0 && queue!.GetWaitFd(out int descriptor) == 0)
            {
                int waiting = fabric.TryWait(queue);
                if (waiting == 0 || waiting == -FiErrno.FI_EAGAIN)
                    return descriptor;
            }
            queue.CloseLogged(logger, CloseQueue);
        }
        // shm does not support a descriptor; it is polled with growing pauses.
        attributes.wait_obj = fi_wait_obj.FI_WAIT_NONE;
        status = domain.OpenCq(&attributes, out queue);
        return -1;
    }
}
