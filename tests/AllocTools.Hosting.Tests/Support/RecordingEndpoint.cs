using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>An endpoint that moves nothing, and is only opened and closed.</summary>
internal class RecordingEndpoint : IRmaEndpoint
{
    private readonly Journal _journal;
    private readonly IDisposable _lease;
    private int _closed;

    public RecordingEndpoint(IRmaContext context, Journal journal)
    {
        Context = context;
        _lease = context.Retain();
        _journal = journal;
    }

    public IRmaContext Context { get; }

    public ReadOnlyMemory<byte> Address => default;

    public RmaPeer InsertPeer(ReadOnlySpan<byte> address) => throw new NotSupportedException();

    public void RemovePeer(RmaPeer peer) => throw new NotSupportedException();

    public RemoteRegion Import(RmaPeer peer, RemoteMemory memory) => throw new NotSupportedException();

    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException();

    public ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException();

    public ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException();

    public ValueTask<RmaReceiveResult> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException();

    public bool TryPost(in RmaOperation operation) => throw new NotSupportedException();

    public int Poll(Span<RmaCompletion> completions) => throw new NotSupportedException();

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return;
        _journal.Add("endpoint closed");
        _journal.EndpointCloses?.Invoke();
        _lease.Dispose();
        if (_journal.EndpointCloseFails is { } failure)
            throw failure;
    }

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}
