using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing.Conformance;

namespace AllocTools.Testing.TwoProcesses;

/// <summary>
/// This process's side of a two-process test, and the other process; each has inserted the other as its peer.
/// </summary>
public sealed class LocalSide : IAsyncDisposable
{
    private readonly ConformingSide _side;
    private readonly IDisposable? _logging;

    private LocalSide(IRmaContext context, PeerProcess process, IDisposable? logging)
    {
        Process = process;
        _logging = logging;
        _side = new ConformingSide(context);
    }

    public IRmaMemoryPool Pool => _side.Pool;

    public IRmaEndpoint Endpoint => _side.Endpoint;

    /// <summary>The other process.</summary>
    public PeerProcess Process { get; }

    /// <summary>Its endpoint.</summary>
    public RmaPeer Peer => _side.Peer;

    /// <summary>Has both sides insert each other.</summary>
    /// <param name="context">This side's context, which is disposed with it.</param>
    /// <param name="process">The other process, which is ended with this side.</param>
    /// <param name="logging">The logging, which is disposed with this side.</param>
    public static async Task<LocalSide> MeetAsync(IRmaContext context, PeerProcess process, IDisposable? logging = null)
    {
        var side = new LocalSide(context, process, logging);
        try
        {
            side._side.Peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await process.AskAsync("address")));
            if (await process.AskAsync($"peer {Convert.ToBase64String(side.Endpoint.Address.Span)}") != "ok")
                throw new InvalidOperationException("The peer does not take this side's address.");
            return side;
        }
        catch
        {
            await side.DisposeAsync();
            throw;
        }
    }

    /// <summary>Has the peer expose a part of a buffer that it has rented.</summary>
    public async Task<RemoteMemory> ExposedAsync(int buffer, long offset, long length, RmaAccess access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite) =>
        RemoteMemory.Read(Convert.FromBase64String(await Process.AskAsync($"expose {buffer} {offset} {length} {access.ToString().Replace(" ", "", StringComparison.Ordinal)}")));

    public async ValueTask DisposeAsync()
    {
        await _side.DisposeAsync();
        _logging?.Dispose();
        await Process.DisposeAsync();
    }
}
