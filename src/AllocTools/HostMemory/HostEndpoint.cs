using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using AllocTools.Diagnostics;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.HostMemory;

/// <summary>Moves memory inside the process. Reads and writes are done when the call returns; a send waits for its receive.</summary>
/// <remarks>
/// What a peer may do is checked as a fabric does it: by key, bounds and access of the registration, at the moment of
/// the operation. An address is 8 bytes of a tag, 16 random ones, and the trailer that every address has.
/// </remarks>
internal sealed class HostEndpoint : IRmaEndpoint, IMeteredEndpoint
{
    private const int PermissionDenied = 13;
    private const int ConnectionReset = 104;
    private const int TimedOut = 110;
    private const int Truncated = 265;
    private const string TruncatedName = "FI_ETRUNC";
    private const int MaxCompletions = 1024;
    private const int IdLength = 16;
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(30);

    private readonly HostContext _context;
    private readonly IDisposable _contextLease;
    private readonly byte[] _address;
    private readonly Guid _id = Guid.NewGuid();
    private readonly HostMailbox _mailbox = new();
    private readonly HostPeerTable _peers = new();
    private readonly LostPeers _lost = new();
    private readonly ConcurrentQueue<RmaCompletion> _completions = new();
    private int _outstanding;
    private int _closed;

    public HostEndpoint(HostContext context, ILogger logger)
    {
        Logger = logger;
        _context = context;
        _contextLease = context.Retain();
        _address = EndpointAddress.Compose([.. AddressTag, .. _id.ToByteArray()], context.Description);
        HostFabric.Add(_id, this);
    }

    public IRmaContext Context => _context;

    public EndpointCounters Counters { get; } = new();

    public ILogger Logger { get; }

    public bool IsClosed => Volatile.Read(ref _closed) != 0;

    /// <summary>Operations that are awaited take no place: only those of <see cref="TryPost"/> are limited.</summary>
    public RmaEndpointStatistics GetStatistics() => Counters.Snapshot() with
    {
        State = IsClosed ? RmaEndpointState.Closed : RmaEndpointState.Open,
        Limit = MaxCompletions,
        Running = Volatile.Read(ref _outstanding),
    };

    public ReadOnlyMemory<byte> Address => _address;

    private static ReadOnlySpan<byte> AddressTag => "RMAHOST1"u8;

    public RmaPeer InsertPeer(ReadOnlySpan<byte> address)
    {
        CheckOpen();
        ReadOnlySpan<byte> own = EndpointAddress.Parse(address, out TransportDescription? transport, out string? error);
        error ??= transport is null ? null : _context.Description.FindReasonAgainst(transport);
        if (error is null && (own.Length != AddressTag.Length + IdLength || !own.StartsWith(AddressTag)))
            error = $"an address has {AddressTag.Length + IdLength} bytes before its trailer, and starts with '{Encoding.ASCII.GetString(AddressTag)}'";
        if (error is not null)
            throw new RmaProviderException($"The peer's address of {address.Length} bytes can't be used with provider '{HostContext.ProviderName}': {error}. Both sides need the same provider; pass the peer endpoint's Address as it is.");
        if (!HostFabric.TryFind(new Guid(own[AddressTag.Length..]), out HostEndpoint? peer))
            throw new RmaProviderException($"The peer is closed, or in another process: the provider '{HostContext.ProviderName}' works inside one process only.");
        return new RmaPeer(this, _peers.Insert(peer));
    }

    public IAsyncEnumerable<RmaPeerLost> ReadLostPeersAsync(CancellationToken cancellationToken = default) => _lost.ReadAsync(cancellationToken);

    public void RemovePeer(RmaPeer peer)
    {
        if (!_peers.Remove(Check(peer).Handle))
            throw Removed(nameof(peer));
    }

    public RemoteRegion Import(RmaPeer peer, RemoteMemory memory)
    {
        EndpointChecks.ThrowIfGrantsNothing(memory);
        _peers.TryFind(Check(peer).Handle, out HostEndpoint? owner);
        EndpointChecks.ThrowIfNotOfTransport(memory, _context.Description, owner?._context.Description);
        return new RemoteRegion(peer, memory, memory.Key, unmap: null);
    }

    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        Transfer(RmaOperation.Write(source, destination), cancellationToken);

    public ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        Transfer(RmaOperation.Read(destination, source), cancellationToken);

    public async ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        await ExchangeAsync(RmaOperation.Send(message, peer), timeout ?? DefaultTimeout, cancellationToken).ConfigureAwait(false);

    public ValueTask<long> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        ExchangeAsync(RmaOperation.Receive(buffer), timeout ?? DefaultTimeout, cancellationToken);

    public bool TryPost(in RmaOperation operation)
    {
        CheckOpen();
        if (Interlocked.Increment(ref _outstanding) > MaxCompletions)
        {
            Interlocked.Decrement(ref _outstanding);
            return false;
        }
        try
        {
            if (operation.Kind is RmaOperationKind.Write or RmaOperationKind.Read)
            {
                if (FindLoss(operation) is { } lost)
                    throw lost;
                int error = Copy(operation);
                Count(operation.Kind, operation.Local.Length, error);
                _completions.Enqueue(new RmaCompletion(operation.Context, operation.Kind, error == 0 ? operation.Local.Length : 0, error));
            }
            else
            {
                Exchange(operation, null, Stopwatch.GetTimestamp() + (long)(DefaultTimeout.TotalSeconds * Stopwatch.Frequency));
            }
            return true;
        }
        catch
        {
            Interlocked.Decrement(ref _outstanding);
            throw;
        }
    }

    public int Poll(Span<RmaCompletion> completions)
    {
        CheckOpen();
        long now = Stopwatch.GetTimestamp();
        foreach (HostEndpoint at in _peers.All().Append(this))
            at._mailbox.RemoveDue(this, now).ForEach(p => p.Owner.Complete(p, 0, TimedOut));
        int count = 0;
        while (count < completions.Length && _completions.TryDequeue(out RmaCompletion completion))
        {
            completions[count++] = completion;
            Interlocked.Decrement(ref _outstanding);
        }
        return count;
    }

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return;
        HostFabric.Remove(_id);
        foreach (HostEndpoint other in HostFabric.All())
            other.OnClosed(this);
        _lost.Close();
        foreach (HostPending pending in _mailbox.Close())
            pending.Owner.Complete(pending, 0, ConnectionReset);
        foreach (HostEndpoint peer in _peers.All())
            peer._mailbox.RemoveDue(this, long.MaxValue).ForEach(p => p.Owner.Complete(p, 0, ConnectionReset));
        _contextLease.Dispose();
    }

    private void OnClosed(HostEndpoint peer)
    {
        if (_peers.TryFind(peer, out ulong handle))
            _lost.Report(new RmaPeerLost(new RmaPeer(this, handle), "its endpoint was closed"));
    }

    private ValueTask Transfer(in RmaOperation operation, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled(cancellationToken);
        CheckOpen();
        if (FindLoss(operation) is { } lost)
            return ValueTask.FromException(lost);
        long started = Stopwatch.GetTimestamp();
        int error = Copy(operation);
        Count(operation.Kind, operation.Local.Length, error, started);
        return error == 0 ? ValueTask.CompletedTask : ValueTask.FromException(Failed(operation.Kind, operation.Local.Length, error));
    }

    /// <summary>Copies to or from a peer's memory, as its registration allows.</summary>
    private unsafe int Copy(in RmaOperation operation)
    {
        RemoteSlice remote = operation.Remote;
        ArgumentNullException.ThrowIfNull(remote.Region, nameof(operation));
        PeerOf(remote.Region.Peer);
        long length = operation.Local.Length;
        RangeCheck.ThrowIfOutside(0, length, remote.Length);
        EndpointChecks.ThrowIfNotExposedFor(operation.Kind, remote.Region.Memory);
        EndpointChecks.ThrowIfReadOnly(operation);
        RmaHold hold = Hold(operation.Local);
        bool isUsed = false;
        try
        {
            remote.Region.AddUse();
            isUsed = true;
            if (!HostFabric.TryFind(remote.Region.Key, out HostRegistration? registration) || !registration.TryEnter())
                return PermissionDenied;
            try
            {
                bool isWrite = operation.Kind == RmaOperationKind.Write;
                RmaAccess needed = isWrite ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
                ulong end = (ulong)registration.Length;
                if ((registration.Access & needed) == 0 || remote.Address > end || (ulong)length > end - remote.Address)
                    return PermissionDenied;
                void* there = (byte*)registration.Address + remote.Address;
                void* here = (void*)(hold.Address + (nint)operation.Local.Offset);
                Buffer.MemoryCopy(isWrite ? here : there, isWrite ? there : here, length, length);
                return 0;
            }
            finally
            {
                registration.Exit();
            }
        }
        finally
        {
            if (isUsed)
                remote.Region.EndUse();
            hold.Release();
        }
    }

    private async ValueTask<long> ExchangeAsync(RmaOperation operation, TimeSpan timeout, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        var task = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        EndpointChecks.ThrowIfInvalidTimeout(timeout);
        HostPending pending = Exchange(operation, task, long.MaxValue);
        try
        {
            return await task.Task.WaitAsync(timeout, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException && !task.Task.IsFaulted)
        {
            if (!pending.Mailbox.TryRemove(pending))
                return await task.Task.ConfigureAwait(false);
            pending.Release();
            Exception error = e is OperationCanceledException ? e : new RmaTimeoutException(
                $"{operation.Kind} of {operation.Local.Length} bytes met no counterpart within {timeout} (provider '{HostContext.ProviderName}').",
                operation.Kind,
                TimedOut,
                "ETIMEDOUT");
            Count(operation.Kind, error, pending.Started);
            if (error == e)
                throw;
            throw error;
        }
    }

    private HostPending Exchange(in RmaOperation operation, TaskCompletionSource<long>? task, long deadline)
    {
        bool isSend = operation.Kind == RmaOperationKind.Send;
        if (FindLoss(operation) is { } lost)
            throw lost;
        HostEndpoint at = isSend ? PeerOf(operation.Peer) : this;
        EndpointChecks.ThrowIfReadOnly(operation);
        var pending = new HostPending(this, at._mailbox, operation, Hold(operation.Local), task, deadline);
        if (!at._mailbox.TryMeet(pending, out HostPending? counterpart))
            Complete(pending, 0, ConnectionReset);
        else if (counterpart is not null)
            Deliver(isSend ? pending : counterpart, isSend ? counterpart : pending);
        return pending;
    }

    private static unsafe void Deliver(HostPending send, HostPending receive)
    {
        long length = send.Local.Length;
        bool fits = length <= receive.Local.Length;
        if (fits && length > 0)
            Buffer.MemoryCopy((void*)send.Address, (void*)receive.Address, length, length);
        receive.Owner.Complete(receive, length, fits ? 0 : Truncated);
        send.Owner.Complete(send, length, 0);
    }

    private void Complete(HostPending pending, long length, int error)
    {
        pending.Release();
        Count(pending.Kind, length, error, pending.Started);
        if (pending.Task is null)
            _completions.Enqueue(new RmaCompletion(pending.Context, pending.Kind, length, error));
        else if (error == 0)
            pending.Task.TrySetResult(length);
        else
            pending.Task.TrySetException(error == Truncated ? TooLong(pending.Local.Length, length) : Failed(pending.Kind, pending.Local.Length, error));
    }

    private RmaHold Hold(RmaSlice local)
    {
        RmaHold hold = local.Hold();
        if (ReferenceEquals(local.Buffer.Context, _context))
            return hold;
        hold.Release();
        throw new ArgumentException("The buffer is of a pool on another context than this endpoint's; an endpoint takes buffers of its own context only.");
    }

    /// <summary>The error of an operation whose peer's endpoint was closed; null where it is open.</summary>
    private RmaPeerLostException? FindLoss(in RmaOperation operation)
    {
        if (operation.Kind == RmaOperationKind.Receive || (operation.Kind != RmaOperationKind.Send && operation.Remote.Region is null))
            return null;
        RmaPeer peer = operation.Kind == RmaOperationKind.Send ? operation.Peer : operation.Remote.Region.Peer;
        if (!PeerOf(peer).IsClosed)
            return null;
        var error = new RmaPeerLostException(
            $"{operation.Kind} of {operation.Local.Length} bytes failed: the endpoint of {peer} was closed (provider '{HostContext.ProviderName}').", operation.Kind, peer, ConnectionReset, "ECONNRESET");
        Count(operation.Kind, error, started: 0);
        return error;
    }

    private RmaPeer Check(RmaPeer peer) => peer.Owner == this
        ? peer
        : throw new ArgumentException("The peer was inserted at another endpoint; insert it at this one.", nameof(peer));

    private HostEndpoint PeerOf(RmaPeer peer) => _peers.TryFind(Check(peer).Handle, out HostEndpoint? endpoint)
        ? endpoint
        : throw Removed(nameof(peer));

    private static ArgumentException Removed(string parameter) => new("This RmaPeer is not at the endpoint: it was removed. Use the RmaPeer that InsertPeer returned last, and import the peer's memory with it.", parameter);

    private void Count(RmaOperationKind kind, long length, int error, long started = 0)
    {
        if (error != 0)
        {
            Count(kind, Failed(kind, length, error), started);
            return;
        }
        Counters.Succeeded(kind, length);
        if (started != 0 && Counters.IsTimed)
            Counters.Instruments?.Record(kind, Stopwatch.GetElapsedTime(started), null);
    }

    private void Count(RmaOperationKind kind, Exception error, long started)
    {
        string errorType = Counters.Failed(kind, error);
        if (started != 0 && Counters.IsTimed)
            Counters.Instruments?.Record(kind, Stopwatch.GetElapsedTime(started), errorType);
    }

    private void CheckOpen() => ObjectDisposedException.ThrowIf(Volatile.Read(ref _closed) != 0, typeof(IRmaEndpoint));

    private static RmaOperationException Failed(RmaOperationKind kind, long length, int error)
    {
        (string name, string why) = error switch
        {
            PermissionDenied => ("EACCES", "the peer's memory is not registered any more, not for this access, or shorter"),
            ConnectionReset => ("ECONNRESET", "the peer's endpoint was closed"),
            Truncated => (TruncatedName, "the message is longer than the buffer"),
            _ => ("ETIMEDOUT", "there was no counterpart in time"),
        };
        return new RmaOperationException($"{kind} of {length} bytes failed with {name}: {why} (provider '{HostContext.ProviderName}').", kind, error, name);
    }

    private static RmaMessageTruncatedException TooLong(long room, long messageLength) => new(
        $"Receive of {room} bytes failed with {TruncatedName}: a peer has sent a longer message, {messageLength} bytes, on provider '{HostContext.ProviderName}'. The message is lost; post the next receive, with room for the longest message that peers send.",
        room,
        messageLength,
        Truncated,
        TruncatedName);
}
