using System.Net;
using System.Net.Sockets;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.Connections.Tests.Support;

/// <summary>A peer that implements the protocol by hand, and sends what a test tells it to.</summary>
internal sealed class RawPeer : IAsyncDisposable
{
    private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly IRmaEndpoint _endpoint;
    private readonly RmaBuffer _source;
    private readonly RmaBuffer _block;
    private readonly RmaExposure _exposure;
    private RmaPeer _peer;
    private RemoteRegion? _theirs;
    private int _ringAt = RingBlock.WordsLength;
    private int _number;

    private readonly IPEndPoint _listener;
    private readonly List<Socket> _earlier = [];

    public RawPeer(EndPoint listener)
    {
        _listener = (IPEndPoint)listener;
        _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        _endpoint = _context.OpenEndpoint();
        _source = _pool.Rent(1 << 20);
        _block = _pool.Rent(4096);
        _exposure = _block.Expose(RmaAccess.RemoteWrite);
        Socket = Connect();
    }

    public Socket Socket { get; private set; }

    /// <summary>Gets what it says about itself.</summary>
    public static ProcessTerms Terms => new(Guid.NewGuid(), Guid.Empty, 0, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5), DeliveryComplete: true, RmaIntegrity.None);

    public byte[] Hello => HelloWith(Terms);

    public byte[] Block => SetUpMessages.Block(5, _exposure.Remote);

    /// <summary>Gets what the other side has written into this side's ring.</summary>
    public ReadOnlySpan<byte> Ring => _block.Span[RingBlock.WordsLength..];

    /// <summary>Gets the memory that it has exposed.</summary>
    public RemoteMemory Memory => _exposure.Remote;

    public byte[] HelloWith(ProcessTerms terms) => SetUpMessages.Hello(terms, [(_context.Traits.ProviderName, _endpoint.Address)]);

    /// <summary>Opens another control connection, which it uses from here on. Earlier ones stay open.</summary>
    public void ConnectAgain()
    {
        _earlier.Add(Socket);
        Socket = Connect();
    }

    public Task SendAsync(byte[] bytes) => Socket.SendAsync(bytes);

    /// <summary>Reads a frame.</summary>
    public async Task<(ControlKind Kind, byte[] Payload)> ReceiveAsync()
    {
        byte[] header = await ReceiveAsync(3);
        return ((ControlKind)header[0], await ReceiveAsync(header[1] | (header[2] << 8)));
    }

    /// <summary>Reads a frame; returns null if the other side has ended the control connection.</summary>
    public async Task<(ControlKind Kind, byte[] Payload)?> TryReceiveAsync()
    {
        byte[] first = new byte[1];
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        try
        {
            if (await Socket.ReceiveAsync(first, limit.Token) == 0)
                return null;
        }
        catch (SocketException)
        {
            // It ends with a reset, because not everything was read.
            return null;
        }
        byte[] length = await ReceiveAsync(2);
        return ((ControlKind)first[0], await ReceiveAsync(length[0] | (length[1] << 8)));
    }

    /// <summary>Waits until the other side has ended the control connection.</summary>
    public async Task EndsAsync()
    {
        byte[] rest = new byte[4096];
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        try
        {
            while (await Socket.ReceiveAsync(rest, limit.Token) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // It ends with a reset, because not everything was read.
        }
    }

    /// <summary>Sets up the connection correctly.</summary>
    public async Task SetUpAsync()
    {
        await SendAsync(Hello);
        await FinishSetUpAsync();
    }

    /// <summary>Continues the set-up after its Hello.</summary>
    public async Task FinishSetUpAsync()
    {
        (ControlKind kind, byte[] payload) = await ReceiveAsync();
        Assert.Equal(ControlKind.Welcome, kind);
        (_, _, byte[] address, _number, RemoteMemory block) = SetUpMessages.ReadWelcome(payload);
        _peer = _endpoint.InsertPeer(address);
        _theirs = _endpoint.Import(_peer, block);
        await SendAsync(Block);
    }

    /// <summary>Waits for the offer of another ring, and switches to it.</summary>
    public async Task TakeOfferAsync(FrameHeader header, int at, int sequence)
    {
        (ControlKind kind, byte[] payload) frame;
        do
            frame = await ReceiveAsync();
        while (frame.kind == ControlKind.Heartbeat);
        Assert.Equal(ControlKind.Offer, frame.kind);
        await WriteFrameAsync(header, at, sequence);
        _theirs = _endpoint.Import(_peer, SetUpMessages.ReadOffer(frame.payload)!.Value);
        _ringAt = 0;
    }

    /// <summary>Waits for a notification of the other side.</summary>
    public async Task<Notice> NotifiedAsync()
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        await foreach (RmaNotification notification in _endpoint.ReadNotificationsAsync(limit.Token))
            return Notice.Decode(notification.Value);
        throw new InvalidOperationException("The endpoint was closed.");
    }

    /// <summary>Writes into the other side's block, and announces it.</summary>
    public async Task WriteAsync(int offset, byte[] bytes, NoticeKind kind, int sequence)
    {
        bytes.CopyTo(_source.Span);
        await _endpoint.WriteAsync(_source.Slice(0, bytes.Length), _theirs!.Slice(offset, bytes.Length), new Notice(_number, kind, sequence).Encode());
    }

    /// <summary>Writes a frame into the other side's ring.</summary>
    public Task WriteFrameAsync(FrameHeader header, int at = 0, int sequence = 0, NoticeKind kind = NoticeKind.Data)
    {
        byte[] bytes = new byte[FrameHeader.Length];
        header.WriteTo(bytes);
        return WriteAsync(_ringAt + at, bytes, kind, sequence);
    }

    /// <summary>Announces a run to a connection that is not this one.</summary>
    public async Task WriteElsewhereAsync(int number) =>
        await _endpoint.WriteAsync(_source.Slice(0, 16), _theirs!.Slice(RingBlock.WordsLength, 16), new Notice(number, NoticeKind.Data, 0).Encode());

    public async ValueTask DisposeAsync()
    {
        Socket.Dispose();
        _earlier.ForEach(static s => s.Dispose());
        await _endpoint.DisposeAsync();
        _exposure.Dispose();
        _block.Dispose();
        _source.Dispose();
        await _pool.DisposeAsync();
        _context.Dispose();
    }

    private Socket Connect()
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(_listener.Address, _listener.Port);
        return socket;
    }

    private async Task<byte[]> ReceiveAsync(int length)
    {
        byte[] bytes = new byte[length];
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        for (int at = 0; at < length;)
        {
            int read = await Socket.ReceiveAsync(bytes.AsMemory(at), limit.Token);
            Assert.NotEqual(0, read);
            at += read;
        }
        return bytes;
    }
}
