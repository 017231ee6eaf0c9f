using System.Net.Sockets;
using AllocTools.Connections;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.Scale.Simulation;
using AllocTools.Testing;

namespace AllocTools.Scale.Scenes;

/// <summary>N connections, each to a different peer, which never sends anything.</summary>
internal abstract class ConnectionScene : IScene
{
    protected static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(5);

    private readonly SimulatedContext _context;
    private readonly RmaMemoryPool<SimulatedProvider> _pool;
    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    protected ConnectionScene(Machine machine)
    {
        Machine = machine;
        // With a clock that does not advance, the endpoint's thread would spin forever.
        _context = new SimulatedContext(new RmaEndpointOptions { SpinTime = TimeSpan.Zero }, machine.Clock);
        _pool = new RmaMemoryPool<SimulatedProvider>(
            _context,
            new RmaMemoryPoolOptions { MaxRegisteredBytes = Machine.Cap, Access = RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero },
            "connections",
            loggerFactory: null,
            machine.Memory,
            machine.Clock);
        Connections = new RmaConnections(
            _pool, new RmaConnectionOptions { MaxConnections = 1_000_000, HeartbeatInterval = Heartbeat, PeerTimeout = TimeSpan.FromDays(1) }, loggerFactory: null, machine.Clock);
        All = new RmaConnection[machine.Size];
        for (int i = 0; i < All.Length; i++)
        {
            RmaPeer peer = InsertPeer(i);
            ControlConnection control = new(new SilentStream(), _socket, machine.Clock);
            All[i] = Connections.Add(control, peer, new ProcessTerms(Guid.NewGuid(), Guid.Empty, i, Heartbeat, TimeSpan.FromDays(1), TimeSpan.FromSeconds(30), DeliveryComplete: true, RmaIntegrity.None), RmaIntegrity.None);
            All[i].Start(Connections.Import(peer, All[i].Block), i);
        }
    }

    protected Machine Machine { get; }

    protected RmaConnections Connections { get; }

    protected RmaConnection[] All { get; }

    protected RmaPeer InsertPeer(int number)
    {
        byte[] address = Connections.Endpoint.Address.ToArray();
        SimulatedDriver.AddressOf(number + 1).CopyTo(address, 0);
        return Connections.InsertPeer(address);
    }

    public abstract int Run();

    public void Dispose()
    {
        foreach (RmaConnection connection in All)
        {
            connection.Abort();
            connection.Input.Complete();
            connection.Output.Complete();
        }
        Task closing = Task.WhenAll([Connections.DisposeAsync().AsTask(), .. All.Select(static c => c.WholeEnd)]);
        // For a while, it waits for simulated time.
        while (!closing.Wait(TimeSpan.FromMilliseconds(1)))
            Machine.Clock.Advance(TimeSpan.FromSeconds(1));
        _pool.Dispose();
        _context.Dispose();
        _socket.Dispose();
    }

    /// <summary>Accepts what is written, and returns nothing until it is closed.</summary>
    private sealed class SilentStream : TransportStream
    {
        private readonly TaskCompletionSource<int> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(_end.Task);

        protected override void Dispose(bool disposing)
        {
            _end.TrySetResult(0);
            base.Dispose(disposing);
        }
    }
}

internal sealed class Heartbeats : ConnectionScene, INamedScene
{
    private Heartbeats(Machine machine)
        : base(machine)
    {
    }

    static string INamedScene.Name => "send a heartbeat, see whether the peer is alive";

    static string INamedScene.Among => "connections";

    static IScene INamedScene.Open(Machine machine) => new Heartbeats(machine);

    public override int Run()
    {
        Machine.Clock.Advance(Heartbeat);
        return All.Length;
    }
}

internal sealed class Notifications : ConnectionScene, INamedScene
{
    private const int Operations = 2000;

    private Notifications(Machine machine)
        : base(machine)
    {
    }

    static string INamedScene.Name => "find the connection of a notification";

    static string INamedScene.Among => "connections";

    static IScene INamedScene.Open(Machine machine) => new Notifications(machine);

    public override int Run()
    {
        for (int i = 0; i < Operations; i++)
        {
            RmaConnection connection = All[Machine.Random.Next(All.Length)];
            ((INotificationSink)Connections).OnNotification(new Notice(connection.Number, NoticeKind.Credit, 0).Encode(), connection.Peer);
        }
        return Operations;
    }
}

internal sealed class Joining : ConnectionScene, INamedScene
{
    private const int Operations = 2000;

    private readonly RmaPeer _peer;

    private Joining(Machine machine)
        : base(machine) => _peer = InsertPeer(machine.Size);

    static string INamedScene.Name => "give a peer its share of the operations, take it back";

    static string INamedScene.Among => "connections";

    static IScene INamedScene.Open(Machine machine) => new Joining(machine);

    public override int Run()
    {
        for (int i = 0; i < Operations; i++)
            Connections.Shares.Leave(Connections.Shares.Join(_peer));
        return Operations;
    }
}
