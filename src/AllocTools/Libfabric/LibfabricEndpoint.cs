using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Diagnostics;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>
/// A reliable-datagram endpoint of libfabric (FI_EP_RDM): RMA and messages between rented buffers and peers'
/// memory. Opened by <see cref="IRmaContext.OpenEndpoint"/>.
/// </summary>
/// <remarks>
/// Every operation has a slot with a native context of its own (FI_CONTEXT2) and holds its buffer until the completion
/// was read. One that the transport does not take (-FI_EAGAIN) waits in a queue that keeps the order and is never longer
/// than there are slots. Whoever makes progress (the endpoint's thread, or the caller of <see cref="Poll"/>) reads the
/// completion queue, posts what waits, and ends what is overdue. Cancelling asks the transport to give up (fi_cancel,
/// which may not reach RMA) and ends the await after <see cref="EndpointProgress.CancelGrace"/> at the latest.
/// All members are safe to call from any thread.
/// </remarks>
public sealed class LibfabricEndpoint : IRmaEndpoint
{
    private readonly LibfabricContext _context;
    private readonly IDisposable _contextLease;
    private readonly ConcurrentDictionary<ulong, bool> _peers = new();
    private readonly LibfabricEndpointResources _resources;
    private readonly bool _ownsResources;
    private readonly LibfabricEndpointOptions _options;
    private readonly TimeProvider _time;
    private readonly CallGate _gate = new();
    private readonly OperationSlot[] _slots;
    private readonly SlotPool _free;
    private readonly CompletionRing _completions;
    private readonly EndpointProgress _progress;
    private readonly ProgressLoop? _loop;
    private readonly unsafe fi_context2* _contexts;
    private int _withoutTask;

    internal unsafe LibfabricEndpoint(
        LibfabricContext context, IDisposable contextLease, LibfabricEndpointResources resources, bool ownsResources, LibfabricEndpointOptions options, TimeProvider time)
    {
        _context = context;
        _contextLease = contextLease;
        _resources = resources;
        _ownsResources = ownsResources;
        _options = options;
        _time = time;
        _slots = new OperationSlot[options.MaxOutstanding];
        for (int i = 0; i < _slots.Length; i++)
            _slots[i] = new OperationSlot(this, i);
        _free = new SlotPool(_slots, TryGive);
        _completions = new CompletionRing(_slots.Length);
        _contexts = (fi_context2*)NativeMemory.AlignedAlloc((nuint)_slots.Length * (nuint)sizeof(fi_context2), 64);
        NativeMemory.Clear(_contexts, (nuint)_slots.Length * (nuint)sizeof(fi_context2));
        _resources.Endpoint.Acquire();
        _resources.Queue.Acquire();
        _progress = new EndpointProgress(context, resources, _slots, _contexts, _completions, time);
        if (options.Progress == LibfabricProgress.Endpoint)
            _loop = new ProgressLoop(_progress, context, resources, options.SpinTime, time);
    }

    /// <inheritdoc/>
    public IRmaContext Context => _context;

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Address => _resources.Address;

    /// <inheritdoc/>
    public RmaPeer InsertPeer(ReadOnlySpan<byte> address)
    {
        Enter();
        try
        {
            // 1 is the number of addresses that were inserted.
            int status = _resources.Vector.Insert(address, out ulong handle);
            if (status == 1 && handle != FiConstants.FI_ADDR_NOTAVAIL)
            {
                _peers[handle] = true;
                return new RmaPeer(this, handle);
            }
            throw LibfabricErrors.Provider(
                _context.Library, _context.Traits.ProviderName, $"fi_av_insert of a peer's address of {address.Length} bytes", status < 0 ? status : -FiErrno.FI_EINVAL);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public void RemovePeer(RmaPeer peer)
    {
        Check(peer);
        Enter();
        try
        {
            // libfabric crashes on operations with a peer that it has forgotten. First nothing new is let in, then what
            // runs is looked for; an operation does it the other way round, with a fence between.
            if (!_peers.TryRemove(peer.Handle, out _))
                throw PeerRemoved();
            // Where something runs, or has timed out and may still run, the address stays with the transport.
            if (Array.Exists(_slots, s => s.State != OperationState.Free && s.Peer == peer.Handle))
                return;
            int status = _resources.Vector.Remove(peer.Handle);
            if (status != 0)
                throw LibfabricErrors.Provider(_context.Library, _context.Traits.ProviderName, "fi_av_remove", status);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public RemoteRegion Import(RmaPeer peer, RemoteMemory memory)
    {
        Check(peer);
        Enter();
        try
        {
            if (memory.IsRaw != _context.Traits.RawKeys)
            {
                throw new RmaProviderException(
                    $"The peer's memory has {(memory.IsRaw ? "a raw" : "an integer")} key, the provider '{_context.Traits.ProviderName}' works with {(memory.IsRaw ? "integer" : "raw")} keys. Both sides need the same provider.");
            }
            if (!memory.IsRaw)
                return new RemoteRegion(peer, memory, memory.Key, unmap: null);
            ulong key = _context.MapRawKey(memory.RawBase, memory.RawKey);
            // The key lives in the domain, which must be there when it is unmapped.
            IDisposable kept = _context.Retain();
            return new RemoteRegion(peer, memory, key, () =>
            {
                _context.UnmapRawKey(key);
                kept.Dispose();
            });
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Write(source, destination);
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask(slot!, slot!.Version)
            : WithoutResult(later);
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Read(destination, source);
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask(slot!, slot!.Version)
            : WithoutResult(later);
    }

    /// <inheritdoc/>
    public ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Send(message, peer);
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask(slot!, slot!.Version)
            : WithoutResult(later);
    }

    /// <inheritdoc/>
    public ValueTask<long> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Receive(buffer);
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask<long>(slot!, slot!.Version)
            : later;
    }

    /// <inheritdoc/>
    public bool TryPost(in RmaOperation operation)
    {
        Enter();
        try
        {
            CheckOperation(operation);
            bool posted = false;
            // Counted until Poll has taken its end, so that the completions have room for it.
            int count = Interlocked.Increment(ref _withoutTask);
            try
            {
                if (count > _slots.Length)
                    return false;
                if (IsEmptyTransfer(operation))
                {
                    _completions.Add(new RmaCompletion(operation.Context, operation.Kind, 0, 0));
                    return posted = true;
                }
                posted = _free.TryTake(out OperationSlot? slot) && TryPost(operation, slot);
            }
            finally
            {
                if (!posted)
                    Interlocked.Decrement(ref _withoutTask);
            }
            return posted;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public int Poll(Span<RmaCompletion> completions)
    {
        Enter();
        try
        {
            int taken = _completions.Take(completions);
            if (_loop is null && (taken < completions.Length || completions.IsEmpty))
            {
                _progress.TryRun();
                taken += _completions.Take(completions[taken..]);
            }
            if (taken > 0)
                Interlocked.Add(ref _withoutTask, -taken);
            return taken;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>
    /// Closes the endpoint. Operations that are outstanding fail, and their buffers are free once this returns: closing
    /// drops them. A second call does nothing; never throws.
    /// </summary>
    public unsafe void Dispose()
    {
        if (!_gate.TryClose())
            return;
        foreach (WaitingOperation waiting in _free.Close())
            EndWaiting(waiting, LibfabricErrors.EndpointClosed(_context.Traits.ProviderName, waiting.Operation.Kind, waiting.Operation.Local.Length));
        _loop?.Stop();
        _resources.Endpoint.DangerousRelease();
        _resources.Queue.DangerousRelease();
        if (_ownsResources)
            _resources.Dispose();
        _progress.FailAll(fabricIsDone: _resources.IsEndpointClosed);
        // Last: until an operation is ended its cancellation may wake the loop.
        _loop?.Dispose();
        if (_resources.IsEndpointClosed)
            NativeMemory.AlignedFree(_contexts);
        _contextLease.Dispose();
    }

    /// <inheritdoc cref="Dispose"/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    internal void FreeSlot(OperationSlot slot) => _free.Return(slot);

    internal void OnCancelRequested()
    {
        _progress.NoteCancel();
        _loop?.Wake();
    }

    /// <summary>Starts an operation with a task.</summary>
    /// <returns>True: the slot carries the task. False: <paramref name="later"/> is it.</returns>
    private bool Start(
        in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
    {
        slot = null;
        later = default;
        if (cancellationToken.IsCancellationRequested)
        {
            later = ValueTask.FromCanceled<long>(cancellationToken);
            return false;
        }
        Enter();
        try
        {
            TimeSpan limit = timeout ?? _options.OperationTimeout;
            EndpointChecks.ThrowIfInvalidTimeout(limit);
            CheckOperation(operation);
            if (IsEmptyTransfer(operation))
                return false;
            if (!_free.TryTake(out slot))
            {
                later = StartLater(operation, limit, cancellationToken);
                return false;
            }
            Prepare(operation, slot, hasTask: true, limit, cancellationToken);
            _progress.Post(slot);
            _loop?.WakeIfWaiting();
            return true;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>All slots are taken: the operation waits its turn, with its buffer held and its time running.</summary>
    private ValueTask<long> StartLater(in RmaOperation operation, TimeSpan timeout, CancellationToken cancellationToken)
    {
        RmaHold hold = Hold(operation);
        long now = _time.GetTimestamp();
        var waiting = new WaitingOperation(operation, hold, now, DeadlineOf(now, timeout), cancellationToken);
        try
        {
            return AwaitAsync(_free.Wait(waiting), timeout);
        }
        catch
        {
            LetGo(operation, hold);
            throw;
        }
    }

    private async ValueTask<long> AwaitAsync(LinkedListNode<WaitingOperation> node, TimeSpan timeout)
    {
        WaitingOperation waiting = node.Value;
        try
        {
            return await waiting.Task.WaitAsync(timeout, _time, waiting.CancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException && !waiting.Task.IsCompleted)
        {
            // Where it has its slot it ends by itself: at its deadline, or soon after it was cancelled.
            if (!_free.TryRemove(node))
                return await waiting.Task.ConfigureAwait(false);
            LetGo(waiting.Operation, waiting.Hold);
            if (e is OperationCanceledException)
                throw;
            throw LibfabricErrors.NoSlot(
                _context.Traits.ProviderName,
                waiting.Operation.Kind,
                waiting.Operation.Local.Length,
                _time.GetElapsedTime(waiting.Started),
                _slots.Length,
                _slots.Count(s => s.State == OperationState.Abandoned));
        }
    }

    /// <summary>Gives a slot to an operation that waited for one. False: its peer was removed meanwhile, and it has failed.</summary>
    private bool TryGive(WaitingOperation waiting, OperationSlot slot)
    {
        slot.Prepare(
            waiting.Operation, waiting.Hold, hasTask: true, waiting.Started, waiting.Deadline, waiting.CancellationToken, waiting);
        if (!HasLivePeer(waiting.Operation))
        {
            slot.Unprepare();
            EndWaiting(waiting, PeerRemoved());
            return false;
        }
        _progress.NoteDeadline(waiting.Deadline);
        _progress.Queue(slot);
        _loop?.WakeIfWaiting();
        return true;
    }

    private static void EndWaiting(WaitingOperation waiting, Exception error)
    {
        LetGo(waiting.Operation, waiting.Hold);
        waiting.TrySetException(error);
    }

    private bool TryPost(in RmaOperation operation, OperationSlot slot)
    {
        Prepare(operation, slot, hasTask: false, _options.OperationTimeout, CancellationToken.None);
        bool posted = _progress.TryPost(slot);
        if (posted)
            _loop?.WakeIfWaiting();
        return posted;
    }

    private void Prepare(in RmaOperation operation, OperationSlot slot, bool hasTask, TimeSpan timeout, CancellationToken cancellationToken)
    {
        RmaHold hold;
        try
        {
            hold = Hold(operation);
        }
        catch
        {
            _free.Return(slot);
            throw;
        }
        long now = _time.GetTimestamp();
        long deadline = DeadlineOf(now, timeout);
        slot.Prepare(operation, hold, hasTask, now, deadline, cancellationToken);
        if (!HasLivePeer(operation))
        {
            slot.Unprepare();
            LetGo(operation, hold);
            _free.Return(slot);
            throw PeerRemoved();
        }
        _progress.NoteDeadline(deadline);
    }

    /// <summary>Holds what the operation uses: the buffer, and a mapped key.</summary>
    private RmaHold Hold(in RmaOperation operation)
    {
        RmaHold hold = operation.Local.Hold();
        try
        {
            if (!ReferenceEquals(operation.Local.Buffer.Context, _context))
                throw new ArgumentException("The buffer is of a pool on another context than this endpoint's; an endpoint takes buffers of its own context only.", nameof(operation));
            operation.Remote.Region?.AddUse();
            return hold;
        }
        catch
        {
            hold.Release();
            throw;
        }
    }

    private static void LetGo(in RmaOperation operation, RmaHold hold)
    {
        operation.Remote.Region?.EndUse();
        hold.Release();
    }

    private long DeadlineOf(long now, TimeSpan timeout) =>
        timeout == Timeout.InfiniteTimeSpan ? long.MaxValue : now + (long)(timeout.TotalSeconds * _time.TimestampFrequency);

    private bool HasLivePeer(in RmaOperation operation) => operation.Kind switch
    {
        RmaOperationKind.Receive => true,
        RmaOperationKind.Send => _peers.ContainsKey(operation.Peer.Handle),
        _ => _peers.ContainsKey(operation.Remote.Region.Peer.Handle),
    };

    private static ArgumentException PeerRemoved() => new("The peer was removed from this endpoint; insert it again.");

    /// <summary>
    /// A read or write of nothing is done at once, by nobody: shm (libfabric 1.17) never completes one. The buffer is
    /// checked all the same.
    /// </summary>
    private static bool IsEmptyTransfer(in RmaOperation operation)
    {
        if (operation.Local.Length != 0 || operation.Kind is not (RmaOperationKind.Write or RmaOperationKind.Read))
            return false;
        operation.Local.Hold().Release();
        return true;
    }

    private void CheckOperation(in RmaOperation operation)
    {
        if (_progress.Failure is { } failure)
            throw LibfabricErrors.Operation(_context.Library, _context.Traits.ProviderName, operation.Kind, operation.Local.Length, failure.ErrorCode, "the endpoint makes no progress any more");
        long length = operation.Local.Length;
        switch (operation.Kind)
        {
            case RmaOperationKind.Write or RmaOperationKind.Read:
                RemoteRegion region = operation.Remote.Region
                    ?? throw new ArgumentException("The remote memory is the default value; import it at this endpoint.", nameof(operation));
                Check(region.Peer);
                if (length > operation.Remote.Length)
                    throw new ArgumentException($"{length} bytes do not fit into {operation.Remote.Length} bytes of the peer's memory.", nameof(operation));
                EndpointChecks.ThrowIfNotExposedFor(operation.Kind, region.Memory);
                break;
            case RmaOperationKind.Send:
                Check(operation.Peer);
                goto case RmaOperationKind.Receive;
            case RmaOperationKind.Receive:
                if (length > _context.Traits.MaxMessageSize && operation.Kind == RmaOperationKind.Send)
                    throw new ArgumentException($"A message of {length} bytes is longer than the provider '{_context.Traits.ProviderName}' can send, {_context.Traits.MaxMessageSize} bytes. Send parts, or write by RMA.", nameof(operation));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(operation), operation.Kind, "There is no such operation.");
        }
    }

    private void Check(RmaPeer peer)
    {
        if (!ReferenceEquals(peer.Owner, this))
            throw new ArgumentException("The peer was not inserted at this endpoint.", nameof(peer));
    }

    private void Enter() => ObjectDisposedException.ThrowIf(!_gate.TryEnter(), this);

    private static ValueTask WithoutResult(ValueTask<long> task)
    {
        return task.IsCompletedSuccessfully ? ValueTask.CompletedTask : new ValueTask(task.AsTask());
    }
}
