using System.Collections.Concurrent;
using System.Text;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.HostMemory;

/// <summary>Copies memory inside the process. Short reads and writes are complete when the call returns; a send waits for its receive.</summary>
/// <remarks>
/// A call copies up to <see cref="HostCopies.LongestInCall"/>. Another thread makes longer copies, and later operations
/// to the same peer wait for them. Access by a peer is checked like on a fabric: by key, bounds and access of the
/// registration, at the time of the operation. An address consists of a tag of 8 bytes and 16 random bytes. Each send
/// matches the oldest receive of its peer; at most one of the two queues has entries. Short messages are copied under
/// the receiver's lock, and long ones by the receiver's <see cref="HostCopies"/>, so that neither buffer is released
/// meanwhile: closing takes the lock and waits for the copies. Notifications wait until their target makes progress; if
/// the maximum number is waiting, a write with another notification waits, as for a full transport.
/// </remarks>
internal sealed class HostDriver : RmaEndpointDriver
{
    /// <summary>The number of notifications that may wait for the target to make progress before a write with another one waits.</summary>
    public const int MostNotifications = 1024;

    private const int ConnectionReset = 104;
    private const int Canceled = 125;
    private const int IdLength = 16;

    /// <summary>The index that stands for a peer's notification, which is not an operation of this endpoint.</summary>
    private const int Notification = -1;

    private readonly Guid _id = Guid.NewGuid();
    private readonly byte[] _address;
    private readonly Lock _gate = new();
    private readonly LinkedList<(HostDriver Sender, RmaDriverOperation Operation)> _sends = new();
    private readonly LinkedList<RmaDriverOperation> _receives = new();
    private readonly ConcurrentQueue<Completion> _completions = new();
    private readonly ConcurrentDictionary<HostDriver, HostPeer> _peers = new();

    // These are the peers at which a send of this endpoint may wait; removed peers are kept.
    private readonly ConcurrentDictionary<HostDriver, bool> _sentTo = new();
    private readonly Dictionary<HostDriver, ulong> _numbers = [];
    private readonly HostCopies _copies;
    private readonly Action? _onLongCopy;
    private ulong _lastNumber;
    private int _notifications;
    private bool _closed;

    /// <param name="onLongCopy">Called before each copy that another thread makes, on that thread; for tests.</param>
    public HostDriver(Action? onLongCopy = null)
    {
        _onLongCopy = onLongCopy;
        _copies = new HostCopies(Run);
        _address = [.. AddressTag, .. _id.ToByteArray()];
        HostFabric.Add(_id, this);
    }

    public override ReadOnlyMemory<byte> Address => _address;

    public override bool WakesForCompletions => true;

    private static ReadOnlySpan<byte> AddressTag => "RMAHOST1"u8;

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address)
    {
        if (address.Length != AddressTag.Length + IdLength || !address.StartsWith(AddressTag))
            throw new RmaProviderException($"The peer's address of {address.Length} bytes can't be used with provider '{HostContext.ProviderName}': an address has {AddressTag.Length + IdLength} bytes before its trailer, and starts with '{Encoding.ASCII.GetString(AddressTag)}'. Both sides need the same provider; pass the peer endpoint's Address as it is.");
        if (!HostFabric.TryFind(new Guid(address[AddressTag.Length..]), out HostDriver? peer))
            throw new RmaProviderException($"The peer is closed, or in another process: the provider '{HostContext.ProviderName}' works inside one process only.");
        return new HostPeer(address.ToArray(), peer);
    }

    public override ulong InsertPeer(RmaDriverPeer peer)
    {
        HostDriver driver = ((HostPeer)peer).Driver;
        // Numbers are never reused.
        if (!_numbers.TryGetValue(driver, out ulong number))
            _numbers[driver] = number = ++_lastNumber;
        return number;
    }

    public override bool TryRemovePeer(ulong number)
    {
        foreach ((HostDriver driver, ulong its) in _numbers)
        {
            if (its == number)
            {
                _numbers.Remove(driver);
                break;
            }
        }
        return true;
    }

    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        if (operation.Kind == RmaOperationKind.Receive)
            return Receive(operation);
        HostDriver target = ((HostPeer)operation.Peer!).Driver;
        if (operation.Notification is not null && Volatile.Read(ref target._notifications) >= MostNotifications && !target.IsClosed)
            return RmaPostResult.Full;
        // A message is copied when it matches its receive.
        long length = operation.Kind == RmaOperationKind.Send ? 0 : operation.Length;
        return _copies.TryAdd(this, operation, null, target, length) ? RmaPostResult.Posted : PostNow(operation);
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        var result = RmaReadResult.Nothing;
        // Only the current entries are processed; those that arrive meanwhile are left to the next turn.
        for (int left = _completions.Count; left > 0 && _completions.TryDequeue(out Completion completion); left--)
        {
            result = RmaReadResult.Something;
            if (completion.Index == Notification)
            {
                Interlocked.Decrement(ref _notifications);
                completions.Notify((ulong)completion.Length, completion.Sender);
            }
            else if (completion.Error == 0)
                completions.Complete(completion.Index, completion.Length, completion.Sender);
            else
                completions.Fail(completion.Index, completion.Error, "");
        }
        return result;
    }

    public override void Cancel(RmaDriverOperation operation)
    {
        HostDriver at = operation.Peer is HostPeer peer ? peer.Driver : this;
        // This must come first, because a send moves from there to its peer.
        bool isTakenBack = _copies.TryCancel(operation);
        lock (at._gate)
        {
            isTakenBack |= operation.Kind == RmaOperationKind.Receive ? at._receives.Remove(operation) : at._sends.Remove((this, operation));
        }
        if (isTakenBack)
            Report(new Completion(operation.Index, 0, Canceled, null));
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => error == ConnectionReset ? ClosedReason : null;

    public override string TextOf(int error) => error switch
    {
        HostFabric.PermissionDenied => "the peer's memory is no longer registered, does not grant this access, or is shorter",
        ConnectionReset => ClosedReason,
        _ => "",
    };

    public override bool Close(bool isRecalled)
    {
        HostFabric.Remove(_id);
        List<(HostDriver Sender, RmaDriverOperation Operation)> left;
        lock (_gate)
        {
            _closed = true;
            left = [.. _sends];
            _sends.Clear();
            _receives.Clear();
        }
        left.AddRange(_copies.Close().Where(c => c.Receive is not null).Select(c => (c.Sender, c.Operation)));
        foreach ((HostDriver sender, RmaDriverOperation operation) in left)
        {
            if (sender != this)
                sender.Report(new Completion(operation.Index, 0, ConnectionReset, null));
        }
        // Waits for a copy from a buffer of this endpoint.
        foreach (HostDriver at in _sentTo.Keys)
        {
            lock (at._gate)
            {
                for (LinkedListNode<(HostDriver Sender, RmaDriverOperation)>? node = at._sends.First, next; node is not null; node = next)
                {
                    next = node.Next;
                    if (node.Value.Sender == this)
                        at._sends.Remove(node);
                }
            }
            at._copies.WaitFor(this);
        }
        foreach (HostDriver other in HostFabric.All())
        {
            if (other._peers.TryGetValue(this, out HostPeer? peer))
                other.ReportLost(peer, ClosedReason, ConnectionReset);
        }
        return true;
    }

    protected internal override void OnPeerInserted(RmaDriverPeer peer) => _peers[((HostPeer)peer).Driver] = (HostPeer)peer;

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => _peers.TryRemove(new KeyValuePair<HostDriver, HostPeer>(((HostPeer)peer).Driver, (HostPeer)peer));

    private const string ClosedReason = "its endpoint was closed";

    private RmaPostResult PostNow(RmaDriverOperation operation) => operation.Kind == RmaOperationKind.Send
        ? Send(operation, ((HostPeer)operation.Peer!).Driver)
        : CopyAndNotify(operation);

    /// <summary>Executes the copies that calls have left to another thread, on that thread.</summary>
    private void Run(HostCopy copy)
    {
        _onLongCopy?.Invoke();
        int index = copy.Operation.Index;
        if (copy.Receive is { } receive)
        {
            long length = copy.Operation.Length;
            Deliver(copy.Sender, copy.Operation, receive);
            copy.Sender.Report(new Completion(index, length, 0, null));
            return;
        }
        RmaPostResult result = PostNow(copy.Operation);
        if (result.Status != RmaPostStatus.Posted)
            Report(new Completion(index, result.Length, result.Error, null));
    }

    private RmaPostResult CopyAndNotify(RmaDriverOperation operation)
    {
        HostDriver target = ((HostPeer)operation.Peer!).Driver;
        ulong? notification = operation.Notification;
        RmaPostResult result = target.IsClosed ? RmaPostResult.Refused(ConnectionReset) : HostFabric.Copy(operation);
        if (result.Status != RmaPostStatus.Done || notification is not { } value)
            return result;
        // This must come first, because the target may read it immediately.
        Interlocked.Increment(ref target._notifications);
        target.Report(new Completion(Notification, (long)value, 0, target._peers.GetValueOrDefault(this)));
        return result;
    }

    private bool IsClosed
    {
        get
        {
            lock (_gate)
                return _closed;
        }
    }

    private RmaPostResult Send(RmaDriverOperation send, HostDriver at)
    {
        lock (at._gate)
        {
            if (at._closed)
                return RmaPostResult.Refused(ConnectionReset);
            if (_copies.IsCancelled(send))
                return RmaPostResult.Refused(Canceled);
            if (at._receives.First is not { } first)
            {
                _sentTo[at] = true;
                at._sends.AddLast((this, send));
                return RmaPostResult.Posted;
            }
            at._receives.RemoveFirst();
            if (at.TryDeliver_NeedsLock(this, send, first.Value))
                return RmaPostResult.Done(send.Length);
            _sentTo[at] = true;
            return RmaPostResult.Posted;
        }
    }

    private RmaPostResult Receive(RmaDriverOperation receive)
    {
        lock (_gate)
        {
            if (_sends.First is not { } first)
            {
                _receives.AddLast(receive);
                return RmaPostResult.Posted;
            }
            _sends.RemoveFirst();
            (HostDriver sender, RmaDriverOperation send) = first.Value;
            long length = send.Length;
            int index = send.Index;
            if (TryDeliver_NeedsLock(sender, send, receive))
                sender.Report(new Completion(index, length, 0, null));
            return RmaPostResult.Posted;
        }
    }

    /// <summary>Copies a message to a receive of this endpoint.</summary>
    /// <returns>False if another thread makes the copy and completes both operations.</returns>
    private bool TryDeliver_NeedsLock(HostDriver sender, RmaDriverOperation send, RmaDriverOperation receive)
    {
        long length = send.Length <= receive.Length ? send.Length : 0;
        if (_copies.TryAdd(sender, send, receive, _receives, length))
            return false;
        Deliver(sender, send, receive);
        return true;
    }

    /// <summary>Copies a message to a receive of this endpoint.</summary>
    private unsafe void Deliver(HostDriver sender, RmaDriverOperation send, RmaDriverOperation receive)
    {
        long length = send.Length;
        if (length <= receive.Length)
            Buffer.MemoryCopy((void*)send.Address, (void*)receive.Address, receive.Length, length);
        Report(new Completion(receive.Index, length, 0, _peers.GetValueOrDefault(sender)));
    }

    private void Report(in Completion completion)
    {
        _completions.Enqueue(completion);
        Wake();
    }

    private readonly record struct Completion(int Index, long Length, int Error, HostPeer? Sender);
}

/// <summary>A peer in this process.</summary>
internal sealed class HostPeer(byte[] address, HostDriver driver) : RmaDriverPeer(address)
{
    public HostDriver Driver => driver;
}
