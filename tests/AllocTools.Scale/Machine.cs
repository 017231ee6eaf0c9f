using AllocTools.Endpoints;
using AllocTools.Scale.Simulation;

namespace AllocTools.Scale;

/// <summary>
/// A machine with N peers, N slabs of 8 MiB of which N blocks are rented, N imported regions and N exposures, below a
/// cap of 1 TiB. The pool and the endpoint are real; the clock, the memory and the transport are simulated.
/// </summary>
internal sealed class Machine : IDisposable
{
    public const long Cap = 1L << 40;

    /// <summary>The block size of the large class.</summary>
    public const long Block = 8L << 20;

    /// <summary>The block size of the small class.</summary>
    public const long Small = 4096;

    public static readonly TimeSpan OperationTimeout = TimeSpan.FromSeconds(30);

    private readonly RmaBuffer[] _rented;
    private readonly List<RmaExposure> _exposures = [];
    private readonly RmaCompletion[] _completions = new RmaCompletion[1024];

    public Machine(int size)
    {
        Size = size;
        var options = new RmaEndpointOptions
        {
            Progress = RmaProgress.Caller,
            MaxOutstanding = Slots = Math.Clamp(size, 1024, 65_536),
            OperationTimeout = OperationTimeout,
        };
        Context = new SimulatedContext(options, Clock);
        Pool = NewPool(o =>
        {
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Small });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        Endpoint = Context.OpenEndpoint();
        Driver = Context.Driver!;
        _rented = new RmaBuffer[size];
        Peers = new RmaPeer[size];
        Regions = new RemoteRegion[size];
        Message = Pool.Rent(Small);
        for (int i = 0; i < size; i++)
        {
            _rented[i] = Pool.Rent(Block);
            _exposures.Add(_rented[i].Expose(RmaAccess.RemoteWrite));
            Peers[i] = Endpoint.InsertPeer(AddressOf(i));
            Regions[i] = Endpoint.Import(Peers[i], _exposures[i].Remote);
        }
    }

    public int Size { get; }

    /// <summary>Gets how many operations the endpoint may have outstanding.</summary>
    public int Slots { get; }

    public SimulatedClock Clock { get; } = new();

    public SimulatedMemory Memory { get; } = new();

    public SimulatedContext Context { get; }

    public RmaMemoryPool<SimulatedProvider> Pool { get; }

    public IRmaEndpoint Endpoint { get; }

    public SimulatedDriver Driver { get; }

    public RmaPeer[] Peers { get; }

    public RemoteRegion[] Regions { get; }

    /// <summary>Gets the buffer that operations read.</summary>
    public RmaBuffer Message { get; }

    public RmaBuffer RentedOf(int index) => _rented[index];

    /// <summary>Gets random numbers that are the same in each run.</summary>
    public Random Random { get; } = new(20261127);

    /// <summary>Creates another pool of the machine.</summary>
    public RmaMemoryPool<SimulatedProvider> NewPool(Action<RmaMemoryPoolOptions> configure)
    {
        var options = new RmaMemoryPoolOptions
        {
            MaxRegisteredBytes = Cap,
            MaxSlabBytes = Block,
            Access = RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
            DrainTimeout = TimeSpan.Zero,
        };
        configure(options);
        return new RmaMemoryPool<SimulatedProvider>(Context, options, "simulated", loggerFactory: null, Memory, Clock);
    }

    /// <summary>Returns the whole address of a peer.</summary>
    public byte[] AddressOf(int peer)
    {
        byte[] address = Endpoint.Address.ToArray();
        SimulatedDriver.AddressOf(peer + 1).CopyTo(address, 0);
        return address;
    }

    /// <summary>Removes a peer, and inserts it again together with its memory.</summary>
    public void InsertAgain(int peer)
    {
        Regions[peer].Dispose();
        Endpoint.RemovePeer(Peers[peer]);
        Peers[peer] = Endpoint.InsertPeer(AddressOf(peer));
        Regions[peer] = Endpoint.Import(Peers[peer], _exposures[peer].Remote);
    }

    /// <summary>Starts a write to a peer. The driver's conduct decides what happens to it.</summary>
    /// <returns>The number by which the driver identifies it.</returns>
    public int Write(int peer)
    {
        if (!Endpoint.TryPost(RmaOperation.Write(Message[..8], Regions[peer].Slice(0, 8), (ulong)peer)))
            throw new InvalidOperationException($"The write to peer {peer} was not taken.");
        return Driver.LastIndex;
    }

    /// <summary>Makes progress turns and collects completions, until nothing completes any more.</summary>
    /// <returns>The number of completed operations.</returns>
    public int Poll()
    {
        int ended = 0;
        while (Endpoint.Poll(_completions) is > 0 and int some)
            ended += some;
        return ended;
    }

    public void Dispose()
    {
        Endpoint.Dispose();
        Array.ForEach(Regions, static r => r.Dispose());
        _exposures.ForEach(static e => e.Dispose());
        Message.Dispose();
        Array.ForEach(_rented, static b => b.Dispose());
        Pool.Dispose();
        Context.Dispose();
        if (Context.Registrations != 0 || Memory.Allocated != 0)
            throw new InvalidOperationException($"{Context.Registrations} registrations and {Memory.Allocated} bytes are left of the machine.");
        Memory.Dispose();
    }
}
