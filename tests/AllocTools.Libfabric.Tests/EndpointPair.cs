using AllocTools.Endpoints;
using AllocTools.Libfabric.Tests.Faked;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Two contexts in one process, each with a pool and an endpoint, whose endpoints have inserted each other as peers.
/// </summary>
internal sealed class EndpointPair : IAsyncDisposable
{
    public EndpointPair(string fabric, Action<LibfabricOptions>? configure = null, Action<RmaMemoryPoolOptions>? configurePool = null, ILoggerFactory? logging = null)
    {
        Left = new Side(fabric, configure, configurePool, logging);
        Right = new Side(fabric, configure, configurePool, logging);
        Left.Peer = Left.Endpoint.InsertPeer(Right.Endpoint.Address.Span);
        Right.Peer = Right.Endpoint.InsertPeer(Left.Endpoint.Address.Span);
    }

    public Side Left { get; }

    public Side Right { get; }

    public async ValueTask DisposeAsync()
    {
        await Left.DisposeAsync();
        await Right.DisposeAsync();
    }

    internal sealed class Side : IAsyncDisposable
    {
        private readonly IRmaContext _context;

        public Side(string fabric, Action<LibfabricOptions>? configure, Action<RmaMemoryPoolOptions>? configurePool, ILoggerFactory? logging = null)
        {
            _context = FakeWorld.Find(fabric)?.Open(configure, logging) ?? Fabric.Open(fabric, configure, logging);
            var options = new RmaMemoryPoolOptions
            {
                Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
                DrainTimeout = TimeSpan.Zero,
            };
            configurePool?.Invoke(options);
            Pool = new RmaMemoryPool<LibfabricProvider>(_context, options);
            Endpoint = _context.OpenEndpoint();
        }

        public RmaMemoryPool<LibfabricProvider> Pool { get; }

        public IRmaEndpoint Endpoint { get; }

        public RmaPeer Peer { get; set; }

        public async ValueTask DisposeAsync()
        {
            await Endpoint.DisposeAsync();
            await Pool.DisposeAsync();
            _context.Dispose();
        }
    }
}
