using System.Net;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Ucx;

namespace AllocTools.Doctor.Bench;

/// <summary>The objects of one side: a pool, an endpoint with its peer and memory at both ends, and a connection.</summary>
internal sealed class Side : IAsyncDisposable
{
    private static readonly TimeSpan OperationTimeout = TimeSpan.FromSeconds(10);

    private readonly IRmaContext _context;
    private readonly BenchSettings _settings;
    private readonly IPAddress _address;
    private RmaBuffer _source, _exposed;
    private RmaExposure? _exposure;
    private IRmaEndpoint? _endpoint;
    private RemoteRegion? _remote;
    private RmaConnections? _connections;
    private RmaConnectionListener? _listener;

    /// <summary>Opens the provider and the pool.</summary>
    /// <exception cref="RmaException">The provider or the pool can't be opened.</exception>
    public Side(BenchSettings settings, IPAddress address)
    {
        _settings = settings;
        _address = address;
        _context = Open(settings, address);
        long area = settings.AreaBytes;
        var options = new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, MaxRegisteredBytes = Math.Max(256 << 20, 4 * area) };
        Pool = new RmaMemoryPool<HostProvider>(_context, options);
    }

    public RmaMemoryPool<HostProvider> Pool { get; }

    public IRmaEndpoint Endpoint => _endpoint!;

    public RmaConnection Connection { get; private set; } = null!;

    /// <summary>
    /// Returns the information that the other side needs: the endpoint's address and memory, and, from a target, the
    /// port at which it accepts a connection.
    /// </summary>
    public Word Prepare(bool isTarget)
    {
        var word = new Word();
        if (_settings.Layers.Contains(Measurements.Endpoint))
        {
            _endpoint = _context.OpenEndpoint();
            _source = Pool.Rent(_settings.AreaBytes);
            _source.Span.Fill(1);
            _exposed = Pool.Rent(_settings.AreaBytes);
            _exposed.Span.Fill(1);
            _exposure = _exposed.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
            word = word with { Address = _endpoint.Address.ToArray(), Memory = _exposure.Remote.ToArray() };
        }
        if (_settings.Layers.Contains(Measurements.Connection))
        {
            _connections = new RmaConnections(Pool, new RmaConnectionOptions { SetUpTimeout = OperationTimeout });
            if (isTarget)
            {
                _listener = _connections.Listen(new IPEndPoint(_address, 0));
                word = word with { Port = ((IPEndPoint)_listener.EndPoint).Port };
            }
        }
        return word;
    }

    /// <summary>Processes the other side's information, and connects with it.</summary>
    /// <param name="other">The other side's information.</param>
    /// <param name="otherAddress">The other side's address.</param>
    /// <param name="gone">Cancelled when the other side is gone.</param>
    public async Task ConnectAsync(Word other, IPAddress otherAddress, CancellationToken gone)
    {
        if (_endpoint is not null)
        {
            RmaPeer peer = _endpoint.InsertPeer(other.Address ?? throw Incomplete());
            _remote = _endpoint.Import(peer, RemoteMemory.Read(other.Memory ?? throw Incomplete()));
        }
        if (_connections is not null)
        {
            Connection = _listener is not null
                ? (RmaConnection)(await _listener.AcceptAsync(gone).AsTask().WaitAsync(OperationTimeout, gone).ConfigureAwait(false) ?? throw Incomplete())
                : await _connections.ConnectAsync(new IPEndPoint(otherAddress, other.Port ?? throw Incomplete()), gone).ConfigureAwait(false);
        }

        static BenchException Incomplete() => new("The other side has not said where it can be reached.");
    }

    /// <summary>Returns bytes to send from, or to read into.</summary>
    public RmaSlice Local(int slot, int size) => _source.Slice(slot * size, size);

    /// <summary>Returns the corresponding bytes at the other side.</summary>
    public RemoteSlice Remote(int slot, int size) => _remote!.Slice((long)slot * size, size);

    /// <summary>Ends all running operations, so that no loop waits for a peer that is gone.</summary>
    public void Stop()
    {
        _endpoint?.Dispose();
        Connection?.Abort();
    }

    public async ValueTask DisposeAsync()
    {
        if (Connection is not null)
            await Connection.DisposeAsync().ConfigureAwait(false);
        if (_listener is not null)
            await _listener.DisposeAsync().ConfigureAwait(false);
        if (_connections is not null)
            await _connections.DisposeAsync().ConfigureAwait(false);
        _remote?.Dispose();
        _endpoint?.Dispose();
        _exposure?.Dispose();
        if (_exposure is not null)
        {
            _exposed.Dispose();
            _source.Dispose();
        }
        await Pool.DisposeAsync().ConfigureAwait(false);
        _context.Dispose();
    }

    private static IRmaContext Open(BenchSettings settings, IPAddress address)
    {
        if (settings.Provider == Measurements.Ucx)
        {
            var ucx = new UcxOptions { Devices = IPAddress.IsLoopback(address) ? "lo" : null };
            ucx.Endpoint.OperationTimeout = OperationTimeout;
            return new UcxProvider(ucx).Open();
        }
        var fabric = new LibfabricOptions { Provider = settings.Fabric, Node = settings.Fabric == "shm" ? null : address.ToString() };
        fabric.Endpoint.OperationTimeout = OperationTimeout;
        return new LibfabricProvider(fabric).Open();
    }
}
