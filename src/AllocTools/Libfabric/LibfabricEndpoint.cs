using System.Diagnostics;
using System.Runtime.InteropServices;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

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
/// which may not reach RMA) and ends the await after <see cref="OverdueOperations.CancelGrace"/> at the latest.
/// All members are safe to call from any thread.
/// </remarks>
public sealed class LibfabricEndpoint : IRmaEndpoint, IMeteredEndpoint
{
    /// <summary>How long closing waits for what a transport is asked to give up: many times what one takes that will.</summary>
    private static readonly TimeSpan RecallTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for calls into the transport: many times what one takes that is not stuck.</summary>
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for its own calls; taking a connection down may take seconds.</summary>
    private static readonly TimeSpan CloseTime = TimeSpan.FromSeconds(10);

    private readonly LibfabricContext _context;
    private readonly IDisposable _contextLease;
    private readonly TransportDescription _description;
    private readonly PeerTable _peers;
    private readonly LibfabricEndpointResources _resources;
    private readonly bool _ownsResources;
    private readonly LibfabricEndpointOptions _options;
    private readonly CallGate _gate = new();
    private readonly CompletionRing _completions;
    private readonly EndpointCounters _counters = new();
    private readonly OperationStarter _starter;
    private readonly ReceiveOverflow? _overflow;
    private readonly DeliveryGauge? _gauge;
    private readonly long _maxMessageLength;
    private readonly unsafe fi_context2* _contexts;
    private int _withoutTask;

    /// <summary>Takes over the lease and, with <paramref name="ownsResources"/>, the resources; not where it throws.</summary>
    internal unsafe LibfabricEndpoint(
        LibfabricContext context, IDisposable contextLease, LibfabricEndpointResources resources, bool ownsResources, LibfabricOptions provider, TimeProvider time)
    {
        LibfabricEndpointOptions options = provider.Endpoint;
        _context = context;
        _contextLease = contextLease;
        _resources = resources;
        _ownsResources = ownsResources;
        _options = options;
        _maxMessageLength = Math.Min(options.MaxMessageLength, context.Traits.MaxMessageSize);
        fi_addr_format format = context.Info.Info->addr_format;
        byte[] advertised = AdvertisedAddress.Of(resources.Address, format, provider);
        _description = context.Description.Copy();
        // Where an address of another's choice is reached from is not known here.
        if (string.IsNullOrEmpty(provider.AdvertisedNode) || _description.IsSharedMemory)
            _description.Place = PeerPlace.FindOwn();
        _gauge = DeliveryGauge.TryOpen(context, options.MaxOutstanding);
        _description.MaxMessageLength = _maxMessageLength;
        _description.Gauge = _gauge?.Remote;
        Address = EndpointAddress.Compose(advertised, _description);
        _peers = new PeerTable(
            this, context, resources.Vector, _description, new PeerAddressFormat(format, resources.Address), new PeerReach(format, resources.Address, advertised, _description.Place), resources.HasFile, _gauge, options.MaxUnreceivedMessages);
        _completions = new CompletionRing(options.MaxOutstanding);
        _contexts = (fi_context2*)NativeMemory.AlignedAlloc((nuint)options.MaxOutstanding * (nuint)sizeof(fi_context2), 64);
        NativeMemory.Clear(_contexts, (nuint)options.MaxOutstanding * (nuint)sizeof(fi_context2));
        _overflow = ReceiveOverflow.TryMap(context.Info, context.Traits, _maxMessageLength, context.Logger);
        _resources.Endpoint.Acquire();
        _resources.Queue.Acquire();
        try
        {
            _starter = new OperationStarter(context, resources, _peers, _contexts, _completions, _counters, options, time, _overflow, _gauge);
        }
        catch
        {
            _resources.Endpoint.DangerousRelease();
            _resources.Queue.DangerousRelease();
            NativeMemory.AlignedFree(_contexts);
            _overflow?.Unmap();
            _gauge?.Close(fabricIsDone: true);
            throw;
        }
    }

    /// <inheritdoc/>
    public IRmaContext Context => _context;

    EndpointCounters IMeteredEndpoint.Counters => _counters;

    ILogger IMeteredEndpoint.Logger => _context.Logger;

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Address { get; }

    /// <inheritdoc/>
    public RmaPeer InsertPeer(ReadOnlySpan<byte> address)
    {
        Enter();
        try
        {
            ulong handle = _peers.Insert(address, _starter.Slots, out long generation);
            return new RmaPeer(this, handle, generation);
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
            _peers.Remove(peer, _starter.Slots);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<RmaPeerLost> ReadLostPeersAsync(CancellationToken cancellationToken = default) => _peers.Lost.ReadAsync(cancellationToken);

    /// <inheritdoc/>
    public RemoteRegion Import(RmaPeer peer, RemoteMemory memory)
    {
        Check(peer);
        EndpointChecks.ThrowIfGrantsNothing(memory);
        Enter();
        try
        {
            EndpointChecks.ThrowIfNotOfTransport(memory, _description, _peers.TransportOf(peer));
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
    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartWithoutResult(RmaOperation.Write(source, destination), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartWithoutResult(RmaOperation.Read(destination, source), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartWithoutResult(RmaOperation.Send(message, peer), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<long> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Receive(buffer);
        return RmaActivities.OperationsAreTraced
            ? Trace(operation, timeout, cancellationToken)
            : StartWithResult(operation, timeout, cancellationToken);
    }

    /// <inheritdoc/>
    public RmaEndpointStatistics GetStatistics()
    {
        RmaEndpointStatistics now = _starter.Snapshot();
        return _gate.IsClosed ? now with { State = RmaEndpointState.Closed } : now;
    }

    /// <summary>
    /// What a completed send to a peer means: the endpoint's level, or <see cref="LibfabricCompletionLevel.Transmit"/> where
    /// neither the transport nor the peer can tell that the bytes are there (<see cref="RmaProviderTraits.SendsAreConfirmed"/>,
    /// and a peer that is no endpoint of this library, or grants no remote reading). An empty message counts as sent.
    /// </summary>
    /// <param name="peer">A peer of this endpoint.</param>
    public LibfabricCompletionLevel GetSendLevel(RmaPeer peer)
    {
        Check(peer);
        return _options.CompletionLevel == LibfabricCompletionLevel.Delivery && _context.Traits.SendsAreConfirmed && _peers.FlowOf(peer) is null
            ? LibfabricCompletionLevel.Transmit
            : _options.CompletionLevel;
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
                if (count > _options.MaxOutstanding)
                    return false;
                if (IsEmptyTransfer(operation))
                {
                    _completions.Add(new RmaCompletion(operation.Context, operation.Kind, 0, 0));
                    return posted = true;
                }
                posted = _starter.TryPost(operation, _options.OperationTimeout);
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
            if (_starter.Loop is null && (taken < completions.Length || completions.IsEmpty))
            {
                _starter.RunOrBreak();
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
    /// drops them. Where a call into the transport does not return, this gives up: after 2 s for a caller's, 2 s for one
    /// of the endpoint's thread, 10 s for those that close it. It says so in the log, and closing goes on once they have
    /// returned; until then the buffers are quarantined. A second call does nothing; never throws.
    /// </summary>
    public void Dispose()
    {
        if (!_gate.TryClose())
            return;
        _peers.Lost.Close();
        bool isIdle = _gate.Empty.Wait(StopTime);
        _starter.EndWaiting();
        ProgressLoop? loop = _starter.Loop;
        bool hasStopped = loop is null || loop.TryStop(StopTime);
        // Owners are told whatever closing takes.
        _starter.Progress.FailAll(fabricIsDone: false);
        Task calls = Task.WhenAll(_gate.Empty, loop?.Ended ?? Task.CompletedTask);
        // On a thread of its own, which may have to wait for ever.
        Thread closing = new(() =>
        {
            try
            {
                calls.Wait();
                Close();
            }
            catch (Exception e)
            {
                // Of whatever kind: on a thread of its own it would end the process.
                _context.ReportUnexpected("closing", e);
            }
        }) { IsBackground = true, Name = "AllocTools closing" };
        closing.Start();
        if (!isIdle || !hasStopped || !closing.Join(CloseTime))
            Log.EndpointStuck(_context.Logger, _context.Traits.ProviderName);
    }

    /// <inheritdoc cref="Dispose"/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    private ValueTask StartWithoutResult(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (RmaActivities.OperationsAreTraced)
            return WithoutResult(Trace(operation, timeout, cancellationToken));
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask(slot!, slot!.Version)
            : WithoutResult(later);
    }

    private ValueTask<long> StartWithResult(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken) =>
        Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<long> later)
            ? new ValueTask<long>(slot!, slot!.Version)
            : later;

    /// <summary>As without a span, which allocates nothing; this does.</summary>
    private ValueTask<long> Trace(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        Activity? callers = Activity.Current;
        RmaSpan span = RmaActivities.StartOperation(operation.Kind, _context.Traits.ProviderName, operation.Local.Length, _context.Logger);
        try
        {
            return EndAsync(span, StartWithResult(operation, timeout, cancellationToken));
        }
        catch (Exception e)
        {
            // Thrown at once, as without a span.
            span.Fail(e);
            span.Dispose();
            throw;
        }
        finally
        {
            Activity.Current = callers;
        }
    }

    private static async ValueTask<long> EndAsync(RmaSpan span, ValueTask<long> running)
    {
        using (span)
        {
            try
            {
                return await running.ConfigureAwait(false);
            }
            catch (Exception e)
            {
                span.Fail(e);
                throw;
            }
        }
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
            return _starter.Start(operation, limit, cancellationToken, out slot, out later);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>
    /// A read or write of nothing is done at once, by nobody: shm (libfabric 1.17) never completes one. The buffer is
    /// checked all the same.
    /// </summary>
    private bool IsEmptyTransfer(in RmaOperation operation)
    {
        if (operation.Local.Length != 0 || operation.Kind is not (RmaOperationKind.Write or RmaOperationKind.Read))
            return false;
        operation.Local.Hold().Release();
        _counters.Succeeded(operation.Kind, 0);
        return true;
    }

    private void CheckOperation(in RmaOperation operation)
    {
        if (_starter.Progress.Failure is { } failure)
            throw LibfabricErrors.NoProgress(_context.Traits.ProviderName, operation.Kind, operation.Local.Length, failure);
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
                EndpointChecks.ThrowIfReadOnly(operation);
                break;
            case RmaOperationKind.Send:
                Check(operation.Peer);
                ThrowIfTooLong(length, operation.Peer);
                break;
            case RmaOperationKind.Receive:
                EndpointChecks.ThrowIfReadOnly(operation);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(operation), operation.Kind, "There is no such operation.");
        }
    }

    private void ThrowIfTooLong(long length, RmaPeer peer)
    {
        long theirs = _peers.TransportOf(peer)?.MaxMessageLength ?? long.MaxValue;
        if (length <= Math.Min(_maxMessageLength, theirs))
            return;
        string limit = theirs < _maxMessageLength
            ? $"than the peer takes, {theirs} bytes (its Endpoint:MaxMessageLength)"
            : _maxMessageLength < _options.MaxMessageLength
            ? $"than the provider '{_context.Traits.ProviderName}' can send, {_maxMessageLength} bytes"
            : $"than Endpoint:MaxMessageLength, {_maxMessageLength} bytes";
        throw new ArgumentException($"A message of {length} bytes is longer {limit}. Send parts, or write by RMA.", nameof(length));
    }

    private void Check(RmaPeer peer)
    {
        if (!ReferenceEquals(peer.Owner, this))
            throw new ArgumentException("The peer was not inserted at this endpoint.", nameof(peer));
    }

    private unsafe void Close()
    {
        // Registrations may keep it open, and then closing drops nothing: what is outstanding has to come back.
        bool isDone = !_ownsResources && _starter.Progress.TryRecall(RecallTime);
        _resources.Endpoint.DangerousRelease();
        _resources.Queue.DangerousRelease();
        bool lanesAreClosed = _starter.Progress.Lanes.Close();
        _peers.CloseFiles();
        if (_ownsResources)
            _resources.Dispose();
        isDone |= lanesAreClosed && _resources.IsEndpointClosed;
        _starter.Progress.FailAll(fabricIsDone: isDone);
        if (isDone)
            _starter.Progress.Lanes.ReleaseKept();
        // Last: until an operation is ended its cancellation may wake the loop.
        _starter.Dispose();
        if (isDone)
        {
            NativeMemory.AlignedFree(_contexts);
            _overflow?.Unmap();
        }
        _gauge?.Close(isDone);
        _contextLease.Dispose();
    }

    private void Enter() => ObjectDisposedException.ThrowIf(!_gate.TryEnter(), this);

    private static ValueTask WithoutResult(ValueTask<long> task)
    {
        return task.IsCompletedSuccessfully ? ValueTask.CompletedTask : new ValueTask(task.AsTask());
    }
}
