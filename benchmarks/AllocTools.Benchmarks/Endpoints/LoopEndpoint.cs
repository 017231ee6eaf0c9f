using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Ucx;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>One process's pool and endpoint, a buffer for each operation that may be outstanding, and the peer.</summary>
internal sealed class LoopEndpoint : IDisposable
{
    private const long HugePageSize = 2 << 20;

    private readonly IRmaContext _context;
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly RmaBuffer _exposed;
    private readonly RmaExposure _exposure;
    private RmaPeer _peer;
    private RemoteRegion? _region;

    public LoopEndpoint(LoopArguments arguments)
    {
        _context = arguments.IsUcx ? OpenUcx(arguments) : OpenLibfabric(arguments);
        Endpoint = _context.OpenEndpoint();
        Size = arguments.Size;
        // There are at least two, because a ping-pong sends from one and receives into the other.
        int buffers = Math.Max(2, arguments.Window);
        // Both sides use huge pages, whatever the size, because the comparison is not about copies.
        long bytes = Math.Max(HugePageSize, (long)Size * buffers);
        RmaMemoryPoolOptions options = new() { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = Size, InitialBlocks = (int)(bytes / Size) });
        _pool = new RmaMemoryPool<HostProvider>(_context, options);
        _pool.WarmUpAsync().GetAwaiter().GetResult();
        Buffers = [.. Enumerable.Range(0, buffers).Select(_ => _pool.Rent(Size))];
        foreach (RmaBuffer buffer in Buffers)
            buffer.Span.Fill(1);
        _exposed = _pool.Rent(bytes);
        _exposed.Span.Fill(1);
        _exposure = _exposed.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    }

    public IRmaEndpoint Endpoint { get; }

    /// <summary>The bytes of an operation.</summary>
    public int Size { get; }

    public RmaBuffer[] Buffers { get; }

    /// <summary>Returns the information that the peer needs: the endpoint's address and memory, in hexadecimal.</summary>
    public override string ToString() => $"{Convert.ToHexString(Endpoint.Address.Span)} {Convert.ToHexString(_exposure.Remote.ToArray())}";

    /// <summary>Processes the peer's line.</summary>
    public void Connect(string line)
    {
        string[] parts = line.Split(' ');
        _peer = Endpoint.InsertPeer(Convert.FromHexString(parts[0]));
        _region = Endpoint.Import(_peer, RemoteMemory.Read(Convert.FromHexString(parts[1])));
    }

    /// <summary>Returns the peer's memory that corresponds to a buffer here.</summary>
    public RemoteSlice Remote(int slot) => _region!.Slice((long)slot * Size, Size);

    public RmaOperation Write(int slot) => RmaOperation.Write(Buffers[slot], Remote(slot), (ulong)slot);

    public RmaOperation Read(int slot) => RmaOperation.Read(Buffers[slot], Remote(slot), (ulong)slot);

    public RmaOperation Send(int slot) => RmaOperation.Send(Buffers[slot], _peer, (ulong)slot);

    public RmaOperation Receive(int slot) => RmaOperation.Receive(Buffers[slot], (ulong)slot);

    public ValueTask WriteAsync(int slot) => Endpoint.WriteAsync(Buffers[slot], Remote(slot));

    public ValueTask NotifyAsync(int slot) => Endpoint.WriteAsync(Buffers[slot], Remote(slot), notification: 1);

    public ValueTask SendAsync(int slot) => Endpoint.SendAsync(Buffers[slot], _peer);

    public ValueTask<RmaReceiveResult> ReceiveAsync(int slot, TimeSpan? timeout = null) => Endpoint.ReceiveAsync(Buffers[slot], timeout);

    /// <summary>Creates a batch with a write from each of a number of buffers.</summary>
    public RmaBatch CreateBatch(int count)
    {
        RmaBatch batch = Endpoint.CreateBatch(count);
        for (int slot = 0; slot < count; slot++)
            batch.Write(Buffers[slot], Remote(slot));
        return batch;
    }

    /// <summary>Polls for completed operations, all of which must have succeeded.</summary>
    public int Poll(Span<RmaCompletion> completions)
    {
        int count = Endpoint.Poll(completions);
        foreach (ref readonly RmaCompletion completion in completions[..count])
        {
            if (!completion.IsSuccess)
                throw new InvalidOperationException($"A {completion.Kind} failed with {completion.ErrorCode}.");
        }
        return count;
    }

    public void Dispose()
    {
        _region?.Dispose();
        Endpoint.Dispose();
        _exposure.Dispose();
        _exposed.Dispose();
        foreach (RmaBuffer buffer in Buffers)
            buffer.Dispose();
        _pool.Dispose();
        _context.Dispose();
    }

    private static IRmaContext OpenLibfabric(LoopArguments arguments)
    {
        LibfabricOptions fabric = new() { Provider = arguments.Provider, Node = "127.0.0.1" };
        // The answer shows that a message has arrived. With Delivery each send on ofi_rxm would query the peer, which C does not do.
        if (arguments.Kind is LoopKind.PingPong or LoopKind.PingPongAsync)
            fabric.Endpoint.CompletionLevel = LibfabricCompletionLevel.Transmit;
        Configure(fabric.Endpoint, arguments);
        return new LibfabricProvider(fabric).Open();
    }

    private static IRmaContext OpenUcx(LoopArguments arguments)
    {
        bool isShared = arguments.UcxTransports.Contains("shm", StringComparison.Ordinal);
        UcxOptions ucx = new() { Transports = arguments.UcxTransports, Devices = isShared ? null : "lo", ErrorHandling = isShared ? UcxErrorHandling.None : UcxErrorHandling.Peer };
        Configure(ucx.Endpoint, arguments);
        return new UcxProvider(ucx).Open();
    }

    private static void Configure(RmaEndpointOptions endpoint, LoopArguments arguments)
    {
        endpoint.Progress = arguments.Polls ? RmaProgress.Caller : RmaProgress.Endpoint;
        if (arguments.SpinTime is int spinTime)
            endpoint.SpinTime = TimeSpan.FromMicroseconds(spinTime);
        if (arguments.IsInline)
            endpoint.Continuations = RmaContinuations.Inline;
    }
}
