using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.Ucx.Tests;

/// <summary>This process's side of a two-process test, and the other process, known to each other.</summary>
internal sealed class LocalSide : IAsyncDisposable
{
    private readonly IRmaContext _context;

    private LocalSide(string fabric, Action<UcxOptions>? configure, PeerProcess process)
    {
        Process = process;
        _context = UcxFabric.Open(fabric, configure);
        Pool = new RmaMemoryPool<HostProvider>(
            _context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        Endpoint = _context.OpenEndpoint();
    }

    public IRmaMemoryPool Pool { get; }

    public IRmaEndpoint Endpoint { get; }

    public PeerProcess Process { get; }

    public RmaPeer Peer { get; private set; }

    /// <summary>Starts both.</summary>
    /// <param name="fabric">One of <see cref="UcxFabric.All"/>.</param>
    /// <param name="configure">Changes the options of this side.</param>
    /// <param name="wrapper">What the other process is started by, such as prlimit.</param>
    /// <param name="peerOptions">Words for the other process.</param>
    public static async Task<LocalSide> StartAsync(string fabric, Action<UcxOptions>? configure = null, string[]? wrapper = null, params string[] peerOptions)
    {
        var side = new LocalSide(fabric, configure, new PeerProcess(wrapper ?? [], ["ucx", fabric, "RemoteRead, RemoteWrite", .. peerOptions]));
        side.Peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await side.Process.AskAsync("address")));
        if (await side.Process.AskAsync($"peer {Convert.ToBase64String(side.Endpoint.Address.Span)}") != "ok")
            throw new InvalidOperationException("The peer does not take this side's address.");
        return side;
    }

    /// <summary>What the peer exposes of a buffer that it has rented.</summary>
    public async Task<RemoteMemory> ExposedAsync(int buffer, long offset, long length) =>
        RemoteMemory.Read(Convert.FromBase64String(await Process.AskAsync($"expose {buffer} {offset} {length} RemoteRead,RemoteWrite")));

    public async ValueTask DisposeAsync()
    {
        await Endpoint.DisposeAsync();
        await Pool.DisposeAsync();
        _context.Dispose();
        await Process.DisposeAsync();
    }
}
