using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric.Tests;

/// <summary>This process's side of a two-process test, and the other process, known to each other.</summary>
internal sealed class LocalSide : IAsyncDisposable
{
    private readonly IRmaContext _context;
    private readonly LoggerFactory _logging = new([new TestOutputLogger()]);

    private LocalSide(string fabric, RmaAccess peerAccess, Action<LibfabricOptions>? configure, string[] peerOptions)
    {
        _context = Fabric.Open(fabric, configure, _logging);
        Pool = new RmaMemoryPool<LibfabricProvider>(
            _context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        Endpoint = _context.OpenEndpoint();
        Process = new PeerProcess(["fabric", fabric, peerAccess.ToString(), .. peerOptions]);
    }

    public RmaMemoryPool<LibfabricProvider> Pool { get; }

    public IRmaEndpoint Endpoint { get; }

    public PeerProcess Process { get; }

    public RmaPeer Peer { get; private set; }

    public static async Task<LocalSide> StartAsync(
        string fabric,
        RmaAccess peerAccess = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
        Action<LibfabricOptions>? configure = null,
        params string[] peerOptions)
    {
        var side = new LocalSide(fabric, peerAccess, configure, peerOptions);
        side.Peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await side.Process.AskAsync("address")));
        if (await side.Process.AskAsync($"peer {Convert.ToBase64String(side.Endpoint.Address.Span)}") != "ok")
            throw new InvalidOperationException("The peer does not take this side's address.");
        return side;
    }

    /// <summary>What the peer exposes of a buffer it has rented.</summary>
    public async Task<RemoteMemory> ExposedAsync(int buffer, long offset, long length, RmaAccess access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite) =>
        RemoteMemory.Read(Convert.FromBase64String(await Process.AskAsync($"expose {buffer} {offset} {length} {access.ToString().Replace(" ", "", StringComparison.Ordinal)}")));

    /// <summary>Closes this side's endpoint, after which nothing is held any more.</summary>
    public ValueTask CloseEndpointAsync() => Endpoint.DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        await Endpoint.DisposeAsync();
        await Pool.DisposeAsync();
        _context.Dispose();
        _logging.Dispose();
        await Process.DisposeAsync();
    }
}
