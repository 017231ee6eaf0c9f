using System.Collections.Concurrent;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Regions;

namespace AllocTools.Courier;

/// <summary>A transport inside the process. Each context has a courier, a sequence of tasks that alone touch its memory and its messages.</summary>
public sealed class CourierProvider(RmaEndpointOptions? endpoint = null) : IRmaProvider
{
    public IRmaContext Open() => new CourierContext(endpoint ?? new RmaEndpointOptions());
}

internal sealed class CourierContext(RmaEndpointOptions endpoint) : RmaContext
{
    private readonly Dictionary<ulong, CourierRegistration> _registrations = [];
    private ulong _lastKey;

    public TaskFactory Courier { get; } = new(new ConcurrentExclusiveSchedulerPair().ExclusiveScheduler);

    public override RmaProviderTraits Traits { get; } = new()
    {
        ProviderName = "courier",
        ProviderSelectsKey = true,
        RemoteAccess = true,
        RemoteAccessEnforced = true,
        DeliveryComplete = true,
        SendAfterWriteOrdered = true,
        SendersAreKnown = true,
        NotificationSize = sizeof(ulong),
        MaxMessageSize = 64 << 10,
    };

    public override IRmaRegistration Register(nint address, long length, RmaAccess access)
    {
        var registration = new CourierRegistration(Interlocked.Increment(ref _lastKey), address, length, access);
        Courier.StartNew(() => _registrations.Add(registration.Key, registration));
        return registration;
    }

    // Once this returns nothing is copied to or from the memory: the courier is the one who copies.
    public override void Deregister(IRmaRegistration registration) => Courier.StartNew(() => _registrations.Remove(((CourierRegistration)registration).Key)).Wait();

    public override IRmaEndpoint OpenEndpoint() => new RmaEndpoint(this, new CourierDriver(this), endpoint);

    // 0 where a peer may not do this.
    public nint Find(RmaDriverOperation operation)
    {
        RmaAccess needed = operation.Kind == RmaOperationKind.Write ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
        return _registrations.TryGetValue(operation.Key, out CourierRegistration? memory) && (memory.Access & needed) != 0
            && operation.RemoteAddress <= (ulong)memory.Length && (ulong)operation.Length <= (ulong)memory.Length - operation.RemoteAddress
            ? memory.Address + (nint)operation.RemoteAddress
            : 0;
    }
}

internal sealed record CourierRegistration(ulong Key, nint Address, long Length, RmaAccess Access) : IRmaRegistration
{
    public RemoteMemory Describe(long offset, long length, RmaAccess access) => new((ulong)offset, length, Key, access);
}

internal sealed class CourierPeer(byte[] address, CourierDriver driver) : RmaDriverPeer(address)
{
    public CourierDriver Driver { get; } = driver;
}

internal sealed class CourierDriver : RmaEndpointDriver
{
    private const int PermissionDenied = 13, ConnectionReset = 104, Canceled = 125;
    private static readonly ConcurrentDictionary<Guid, CourierDriver> Drivers = new();

    private readonly CourierContext _context;
    private readonly Guid _id = Guid.NewGuid();
    private readonly ConcurrentQueue<Action<RmaDriverCompletions>> _done = new();
    private readonly ConcurrentDictionary<CourierDriver, RmaDriverPeer> _peers = new();
    // Used by the courier: messages without a receive, and receives without a message. One of the two is empty.
    private readonly LinkedList<(CourierDriver From, RmaDriverOperation Send)> _messages = new();
    private readonly LinkedList<RmaDriverOperation> _receives = new();
    private bool _isClosed;
    private ulong _lastNumber;

    public CourierDriver(CourierContext context)
    {
        _context = context;
        Drivers[_id] = this;
    }

    public override ReadOnlyMemory<byte> Address => _id.ToByteArray();
    public override bool WakesForCompletions => true;
    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) =>
        address.Length == 16 && Drivers.TryGetValue(new Guid(address), out CourierDriver? driver)
            ? new CourierPeer(address.ToArray(), driver)
            : throw new RmaProviderException($"The peer's address of {address.Length} bytes is no open endpoint's of this process. Both sides need the same provider, 'courier'.");
    public override ulong InsertPeer(RmaDriverPeer peer) => ++_lastNumber;
    protected override void OnPeerInserted(RmaDriverPeer peer) => _peers[((CourierPeer)peer).Driver] = peer;
    protected override void OnPeerRemoved(RmaDriverPeer peer) => _peers.TryRemove(new(((CourierPeer)peer).Driver, peer));

    // The courier of whom it goes to does it: when this returns it may be done, and the object be another operation's.
    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        CourierDriver at = At(operation);
        at._context.Courier.StartNew(() => at.Carry(this, operation));
        return RmaPostResult.Posted;
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        int count = _done.Count;
        for (int i = 0; i < count && _done.TryDequeue(out Action<RmaDriverCompletions>? report); i++)
            report(completions);
        return count > 0 ? RmaReadResult.Something : RmaReadResult.Nothing;
    }

    // Where the courier has done it by then it is in no queue, or its object is there for a later operation.
    public override void Cancel(RmaDriverOperation operation)
    {
        long use = operation.Use;
        CourierDriver at = At(operation);
        at._context.Courier.StartNew(() =>
        {
            if (operation.Use == use && (at._receives.Remove(operation) || at._messages.Remove((this, operation))))
                Fail(operation.Index, Canceled);
        });
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => error == ConnectionReset ? "its endpoint was closed" : null;
    public override bool Close(bool isRecalled)
    {
        _context.Courier.StartNew(() =>
        {
            _isClosed = true;
            foreach ((CourierDriver from, RmaDriverOperation send) in _messages)
                from.Fail(send.Index, ConnectionReset);
            _messages.Clear();
        }).Wait();
        Drivers.TryRemove(_id, out _);
        // No courier has an operation of this endpoint's after that.
        foreach (CourierDriver other in Drivers.Values)
        {
            other._context.Courier.StartNew(() => other._messages.Where(m => m.From == this).ToList().ForEach(m => other._messages.Remove(m))).Wait();
            if (other._peers.TryGetValue(this, out RmaDriverPeer? us))
                other.ReportLost(us, "its endpoint was closed", ConnectionReset);
        }
        return true;
    }

    private CourierDriver At(RmaDriverOperation operation) => (operation.Peer as CourierPeer)?.Driver ?? this;
    private void Carry(CourierDriver from, RmaDriverOperation operation)
    {
        bool isSend = operation.Kind == RmaOperationKind.Send;
        if (_isClosed)
            from.Fail(operation.Index, ConnectionReset);
        else if (isSend && _receives.First is { } receive)
            Deliver(from, operation, receive.Value);
        else if (isSend)
            _messages.AddLast((from, operation));
        else if (operation.Kind != RmaOperationKind.Receive && _context.Find(operation) is var there and not 0)
            Transfer(from, operation, there);
        else if (operation.Kind != RmaOperationKind.Receive)
            from.Fail(operation.Index, PermissionDenied);
        else if (_messages.First is { } message)
            Deliver(message.Value.From, message.Value.Send, operation);
        else
            _receives.AddLast(operation);
    }

    private void Deliver(CourierDriver from, RmaDriverOperation send, RmaDriverOperation receive)
    {
        _receives.Remove(receive);
        _messages.Remove((from, send));
        if (send.Length <= receive.Length)
            Copy(send, receive.Address);
        Complete(receive.Index, send.Length, _peers.GetValueOrDefault(from));
        from.Complete(send.Index, send.Length, null);
    }

    private void Transfer(CourierDriver from, RmaDriverOperation operation, nint there)
    {
        Copy(operation, there);
        if (operation.Notification is { } number)
            Report(c => c.Notify(number, _peers.GetValueOrDefault(from)));
        from.Complete(operation.Index, operation.Length, null);
    }

    private static unsafe void Copy(RmaDriverOperation operation, nint there)
    {
        bool isRead = operation.Kind == RmaOperationKind.Read;
        Buffer.MemoryCopy((void*)(isRead ? there : operation.Address), (void*)(isRead ? operation.Address : there), operation.Length, operation.Length);
    }

    // Once it is reported its object may be another operation's.
    private void Complete(int index, long length, RmaDriverPeer? sender) => Report(c => c.Complete(index, length, sender));
    private void Fail(int index, int error) => Report(c => c.Fail(index, error, ""));
    private void Report(Action<RmaDriverCompletions> report)
    {
        _done.Enqueue(report);
        Wake();
    }
}
