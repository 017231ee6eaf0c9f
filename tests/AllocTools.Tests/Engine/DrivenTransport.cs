using System.Collections.Concurrent;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Tests.Engine;

/// <summary>
/// A transport that a test drives: the test decides the result of each posted operation, and reports completions.
/// </summary>
internal sealed class DrivenContext(RmaEndpointOptions options, ILogger? logger = null, TimeProvider? time = null) : RmaContext(logger, time)
{
    private const int KeyLength = 4;

    private ulong _lastKey;

    public DrivenDriver Driver { get; } = new();

    public override RmaProviderTraits Traits { get; } = new()
    {
        ProviderName = "driven",
        ProviderSelectsKey = true,
        RemoteAccess = true,
        RemoteAccessEnforced = true,
        DeliveryComplete = true,
        SendersAreKnown = true,
        NotificationSize = sizeof(ulong),
        RawKeys = true,
        KeySize = KeyLength,
        MaxMessageSize = 1 << 20,
    };

    public override IRmaRegistration Register(nint address, long length, RmaAccess access) => new Registration((uint)Interlocked.Increment(ref _lastKey));

    public override void Deregister(IRmaRegistration registration)
    {
    }

    public override IRmaEndpoint OpenEndpoint() => new RmaEndpoint(this, Driver, options);

    private sealed record Registration(uint Number) : IRmaRegistration
    {
        public ulong Key => Number;

        public RemoteMemory Describe(long offset, long length, RmaAccess access) => new((ulong)offset, length, BitConverter.GetBytes(Number), rawBase: 0, access);
    }
}

/// <summary>The driver of a <see cref="DrivenContext"/>.</summary>
internal sealed class DrivenDriver : RmaEndpointDriver
{
    private readonly ConcurrentQueue<Action<RmaDriverCompletions>> _reports = new();
    private readonly ConcurrentDictionary<int, RmaDriverOperation> _kept = new();
    private ulong _lastNumber;

    public DrivenDriver() => OnPost = Keep;

    /// <summary>Decides the result of a posted operation. By default, the transport keeps it.</summary>
    public Func<RmaDriverOperation, RmaPostResult> OnPost { get; set; }

    /// <summary>Called by each progress turn, before it reports.</summary>
    public Action OnRead { get; set; } = static () => { };

    /// <summary>Called when a peer is inserted.</summary>
    public Action OnInsert { get; set; } = static () => { };

    /// <summary>Called when a mapped key is unmapped.</summary>
    public Action OnUnmap { get; set; } = static () => { };

    /// <summary>The peers whose keys were mapped, in order.</summary>
    public ConcurrentQueue<RmaDriverPeer> Mapped { get; } = new();

    /// <summary>Gets the lengths of the posted operations, in order, whatever their results.</summary>
    public ConcurrentQueue<long> Posts { get; } = new();

    /// <summary>
    /// Gets the operations that the engine has reported as refused for the moment, with the time since their start.
    /// </summary>
    public ConcurrentQueue<(RmaOperationKind Kind, TimeSpan? Elapsed)> Refusals { get; } = new();

    /// <summary>Gets the numbers of the removed peers.</summary>
    public ConcurrentQueue<ulong> Removed { get; } = new();

    /// <summary>Gets the inserted peers.</summary>
    public ConcurrentDictionary<ulong, RmaDriverPeer> Peers { get; } = new();

    public override ReadOnlyMemory<byte> Address { get; } = Guid.NewGuid().ToByteArray();

    public override bool WakesForCompletions => true;

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address) => new(address.ToArray());

    public override ulong InsertPeer(RmaDriverPeer peer)
    {
        OnInsert();
        return ++_lastNumber;
    }

    public override bool TryRemovePeer(ulong number)
    {
        Removed.Enqueue(number);
        return true;
    }

    protected internal override void OnPeerInserted(RmaDriverPeer peer) => Peers[peer.Number] = peer;

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => Peers.TryRemove(new(peer.Number, peer));

    public override ulong MapKey(RmaDriverPeer peer, in RemoteMemory memory, out Action? unmap)
    {
        Mapped.Enqueue(peer);
        unmap = () => OnUnmap();
        return BitConverter.ToUInt32(memory.RawKey);
    }

    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        Posts.Enqueue(operation.Length);
        return OnPost(operation);
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        OnRead();
        bool any = false;
        for (int left = _reports.Count; left > 0 && _reports.TryDequeue(out Action<RmaDriverCompletions>? report); left--)
        {
            report(completions);
            any = true;
        }
        return any ? RmaReadResult.Something : RmaReadResult.Nothing;
    }

    public override void Cancel(RmaDriverOperation operation)
    {
        if (_kept.TryRemove(operation.Index, out _))
            Report(c => c.Cancelled(operation.Index));
    }

    public override void OnFull(RmaDriverOperation operation, TimeSpan? elapsed) => Refusals.Enqueue((operation.Kind, elapsed));

    public override bool Close(bool isRecalled) => true;

    /// <summary>Has the next progress turn report something.</summary>
    public void Report(Action<RmaDriverCompletions> report)
    {
        _reports.Enqueue(report);
        Wake();
    }

    /// <summary>
    /// Accepts an operation, which stays outstanding until <see cref="CompleteKept"/>; for <see cref="OnPost"/>.
    /// </summary>
    public RmaPostResult Keep(RmaDriverOperation operation)
    {
        _kept[operation.Index] = operation;
        return RmaPostResult.Posted;
    }

    /// <summary>Completes the operations that were kept.</summary>
    /// <param name="sender">The sender of received messages.</param>
    public void CompleteKept(RmaDriverPeer? sender = null)
    {
        foreach ((int index, RmaDriverOperation operation) in _kept)
        {
            long length = operation.Length;
            bool isReceive = operation.Kind == RmaOperationKind.Receive;
            if (_kept.TryRemove(index, out _))
                Report(c => c.Complete(index, length, isReceive ? sender : null));
        }
    }

    /// <summary>Accepts an operation and completes it at once; for <see cref="OnPost"/>.</summary>
    public RmaPostResult TakeAndComplete(RmaDriverOperation operation)
    {
        (int index, long length) = (operation.Index, operation.Length);
        Report(c => c.Complete(index, length));
        return RmaPostResult.Posted;
    }

    /// <summary>Reports a peer as lost.</summary>
    public void Lose(RmaPeer peer) => ReportLost(Peers[peer.Handle], "the test says so", error: 104);
}
