using System.Buffers.Binary;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Regions;

namespace AllocTools.Scale.Simulation;

/// <summary>A transport to peers that do not exist. It moves no bytes: operations end when the simulation says so.</summary>
internal sealed class SimulatedProvider(RmaEndpointOptions options, TimeProvider time) : IRmaProvider
{
    public IRmaContext Open() => new SimulatedContext(options, time);
}

internal sealed class SimulatedContext(RmaEndpointOptions options, TimeProvider time) : RmaContext(logger: null, time)
{
    private long _lastKey;
    private long _registrations;

    /// <summary>Gets the number of existing registrations.</summary>
    public long Registrations => Volatile.Read(ref _registrations);

    /// <summary>Gets the driver of the endpoint that was opened last.</summary>
    public SimulatedDriver? Driver { get; private set; }

    public override RmaProviderTraits Traits { get; } = new()
    {
        ProviderName = "simulated",
        ProviderSelectsKey = true,
        RemoteAccess = true,
        RemoteAccessEnforced = true,
        DeliveryComplete = true,
        SendAfterWriteOrdered = true,
        SendersAreKnown = true,
        NotificationSize = sizeof(ulong),
        MaxMessageSize = 1L << 40,
    };

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        Interlocked.Increment(ref _registrations);
        return new Registration((ulong)Interlocked.Increment(ref _lastKey));
    }

    public override void Deregister(IRmaRegistration registration) => Interlocked.Decrement(ref _registrations);

    public override IRmaEndpoint OpenEndpoint() => new RmaEndpoint(this, Driver = new SimulatedDriver(), options);

    private sealed record Registration(ulong Key) : IRmaRegistration
    {
        public RemoteMemory Describe(long offset, long length, RmaAccess access) => new((ulong)offset, length, Key, access);
    }
}

/// <summary>What the transport does with an operation.</summary>
internal enum Conduct
{
    /// <summary>It ends in the next progress turn.</summary>
    Ends = 0,

    /// <summary>It does not end before <see cref="SimulatedDriver.End"/>.</summary>
    Stays = 1,

    /// <summary>It is not accepted.</summary>
    Full = 2,
}

internal sealed class SimulatedDriver : RmaEndpointDriver
{
    private const int Canceled = 125;

    private readonly Lock _gate = new();
    private List<(int Index, long Length, int Error)> _ended = [];
    private List<(int Index, long Length, int Error)> _ending = [];
    private ulong _lastNumber;

    public Conduct Conduct { get; set; }

    /// <summary>Gets how often an operation was offered.</summary>
    public long Posts { get; private set; }

    /// <summary>Gets the index of the operation that was posted last.</summary>
    public int LastIndex { get; private set; }

    public override ReadOnlyMemory<byte> Address { get; } = AddressOf(0);

    public override bool WakesForCompletions => true;

    public static byte[] AddressOf(int peer)
    {
        byte[] address = new byte[16];
        BinaryPrimitives.WriteInt32BigEndian(address, peer);
        return address;
    }

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) => new(address.ToArray());

    public override ulong InsertPeer(RmaDriverPeer peer) => ++_lastNumber;

    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        lock (_gate)
        {
            Posts++;
            LastIndex = operation.Index;
            if (Conduct == Conduct.Full)
                return RmaPostResult.Full;
            if (Conduct == Conduct.Ends)
                _ended.Add((operation.Index, operation.Length, 0));
        }
        // The endpoint's own thread is not inside Poll.
        Wake();
        return RmaPostResult.Posted;
    }

    /// <summary>Ends an operation that was kept running.</summary>
    public void End(int index, long length)
    {
        lock (_gate)
            _ended.Add((index, length, 0));
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        lock (_gate)
            (_ended, _ending) = (_ending, _ended);
        foreach ((int index, long length, int error) in _ending)
        {
            if (error == 0)
                completions.Complete(index, length);
            else
                completions.Fail(index, error, "");
        }
        bool hasEnded = _ending.Count != 0;
        _ending.Clear();
        return hasEnded ? RmaReadResult.Something : RmaReadResult.Nothing;
    }

    public override void Cancel(RmaDriverOperation operation)
    {
        lock (_gate)
            _ended.Add((operation.Index, 0, Canceled));
    }

    /// <summary>Reports that a peer can no longer be reached.</summary>
    public void Lose(RmaDriverPeer peer) => ReportLost(peer, "its process has ended", 104);

    public override bool Close(bool isRecalled) => true;
}
