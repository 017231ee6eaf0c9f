using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Endpoints.Engine;
using AllocTools.Providers;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Endpoints;

/// <summary>
/// An endpoint of any transport, for RMA and messages between rented buffers and peers' memory. The transport is a
/// <see cref="RmaEndpointDriver"/>; everything else is implemented here. <see cref="IRmaContext.OpenEndpoint"/> opens an
/// endpoint.
/// </summary>
/// <remarks>
/// Every operation has a slot, and holds its buffer until its completion has been read. An operation that the transport
/// does not accept waits in a queue that keeps the order and is never longer than the number of slots. The thread that
/// makes progress (the endpoint's own thread, or the caller of <see cref="Poll"/>) reads completions, posts waiting
/// operations, and ends overdue ones. Cancellation asks the transport to cancel the operation (which may have no effect
/// on RMA), and ends the await after <see cref="OverdueOperations.CancelGrace"/> at the latest.
/// All members are safe to call from any thread.
/// </remarks>
public partial class RmaEndpoint : IRmaEndpoint, IMeteredEndpoint
{
    private readonly RmaContext _context;
    private readonly RmaEndpointDriver _driver;
    private readonly RmaEndpointOptions _options;
    private readonly IDisposable _contextLease;
    private readonly TransportDescription _description;
    private readonly PeerTable _peers;
    private readonly PeerStates _states;
    private readonly CallGate _gate = new();
    private readonly CompletionRing _completions;
    private readonly NotificationQueue _notifications;
    private readonly EndpointCounters _counters = new();
    private readonly EndpointErrors _errors;
    private readonly OperationStarter _starter;
    private readonly TimeProvider _time;
    private readonly long _maxMessageLength;
    private int _withoutTask;

    /// <summary>Creates an endpoint of a transport. The endpoint closes the driver when it is closed; if the constructor throws, the caller must close it.</summary>
    /// <param name="context">The endpoint's context, which stays open until the endpoint is closed.</param>
    /// <param name="driver">The transport.</param>
    /// <param name="options">The options, which are read only here.</param>
    /// <exception cref="OptionsValidationException">The options are invalid; each failure names the option and its value.</exception>
    [Experimental(ExperimentalId.Providers)]
    public RmaEndpoint(RmaContext context, RmaEndpointDriver driver, RmaEndpointOptions options)
        : this(context, driver, options, Copy(context))
    {
    }

    /// <param name="context">The context that the endpoint belongs to.</param>
    /// <param name="driver">The transport.</param>
    /// <param name="options">The endpoint's options.</param>
    /// <param name="description">The contents of the address's trailer; the longest message is added.</param>
    private protected RmaEndpoint(RmaContext context, RmaEndpointDriver driver, RmaEndpointOptions options, TransportDescription description)
    {
        ArgumentNullException.ThrowIfNull(driver);
        RmaEndpointOptionsValidator.ThrowIfInvalid(options);
        _context = context;
        _driver = driver;
        _options = options = options.Copy();
        _time = context.Health.Time;
        _contextLease = context.Retain();
        try
        {
            _maxMessageLength = Math.Min(options.MaxMessageLength, Math.Min(driver.MaxMessageLength, context.Traits.MaxMessageSize));
            _description = description;
            _description.MaxMessageLength = _maxMessageLength;
            Address = EndpointAddress.Compose(driver.Address.Span, _description);
            _completions = new CompletionRing(options.MaxOutstanding);
            _notifications = new NotificationQueue(
                options.MaxNotifications, _counters, () => Log.NotificationsLost(context.Health.Logger, context.Traits.ProviderName, options.MaxNotifications));
            _errors = new EndpointErrors(this, driver, context.Traits.ProviderName, options.Continuations == RmaContinuations.Inline);
            _states = new PeerStates(_errors, _counters, context.Health);
            _peers = new PeerTable(driver, _description, _states, context.Health.Logger);
            // The thread that the starter starts reads completions immediately.
            driver.Attach(this);
            _starter = new OperationStarter(context, driver, _errors, _gate, _completions, _notifications, _counters, _states, options);
        }
        catch
        {
            _contextLease.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IRmaContext Context => _context;

    EndpointCounters IMeteredEndpoint.Counters => _counters;

    ILogger IMeteredEndpoint.Logger => _context.Health.Logger;

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Address { get; }

    /// <inheritdoc cref="OverdueOperations.Looks"/>
    internal long LooksForDeadlines => _starter.Progress.LooksForDeadlines;

    /// <inheritdoc/>
    public RmaPeer InsertPeer(ReadOnlySpan<byte> address)
    {
        Enter();
        try
        {
            RmaDriverPeer peer = _peers.Insert(address, _starter.Slots, out bool isBack);
            if (isBack)
                Log.PeerReturned(_context.Health.Logger, _context.Traits.ProviderName, peer.Number);
            return _errors.PeerOf(peer)!.Value;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public void RemovePeer(RmaPeer peer) => RemovePeer(peer, isFinished: false);

    /// <inheritdoc cref="RemovePeer(RmaPeer)"/>
    /// <param name="peer">The peer.</param>
    /// <param name="isFinished">Whether <see cref="FinishPeer"/> was called for this insertion.</param>
    internal void RemovePeer(RmaPeer peer, bool isFinished)
    {
        Check(peer);
        Enter();
        try
        {
            _peers.Remove(peer.Entry!, isFinished, _starter.Slots);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<RmaPeerChange> ReadPeerChangesAsync(CancellationToken cancellationToken = default) => _states.ReadAsync(cancellationToken);

    /// <inheritdoc/>
    public RemoteRegion Import(RmaPeer peer, RemoteMemory memory)
    {
        Check(peer);
        EndpointChecks.ThrowIfGrantsNothing(memory);
        Enter();
        try
        {
            EndpointChecks.ThrowIfNotOfTransport(memory, _description, peer.Entry!.IsRemoved ? null : peer.Entry.Transport);
            if (!memory.IsRaw)
                return new RemoteRegion(peer, memory, memory.Key, unmap: null);
            // The key may belong to the context, which must still exist when the key is unmapped.
            IDisposable kept = _context.Retain();
            try
            {
                ulong key = _driver.MapKey(peer.Entry!, memory, out Action? unmap);
                return new RemoteRegion(peer, memory, key, () =>
                {
                    unmap?.Invoke();
                    kept.Dispose();
                });
            }
            catch
            {
                kept.Dispose();
                throw;
            }
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartRetryable(RmaOperation.Write(source, destination), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, ulong notification, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartWithoutResult(RmaOperation.WriteAndNotify(source, destination, notification), timeout, cancellationToken);

    /// <inheritdoc/>
    public IAsyncEnumerable<RmaNotification> ReadNotificationsAsync(CancellationToken cancellationToken = default) =>
        _notifications.ReadAsync(_starter, cancellationToken);

    /// <inheritdoc/>
    public int PollNotifications(Span<RmaNotification> notifications)
    {
        Enter();
        try
        {
            _notifications.ThrowIfLost();
            int taken = _notifications.Take(notifications);
            if (_starter.Loop is null && (taken < notifications.Length || notifications.IsEmpty))
            {
                _starter.TryRunOrBreak();
                taken += _notifications.Take(notifications[taken..]);
            }
            // Checked only now, because notifications that were already taken would be lost otherwise.
            if (taken == 0)
            {
                _notifications.ThrowIfLost();
                _notifications.ThrowIfFailed();
            }
            return taken;
        }
        finally
        {
            _gate.Exit();
            InlineContinuation.RunDue();
        }
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartRetryable(RmaOperation.Read(destination, source), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        StartWithoutResult(RmaOperation.Send(message, peer), timeout, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<RmaReceiveResult> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        RmaOperation operation = RmaOperation.Receive(buffer);
        return RmaActivities.OperationsAreTraced
            ? Trace(operation, timeout, cancellationToken)
            : StartWithResult(operation, timeout, cancellationToken);
    }

    /// <inheritdoc/>
    public RmaBatch CreateBatch(int capacity = 64)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        ThrowIfClosed();
        return new RmaBatch(this, new BatchRun(_starter, capacity));
    }

    /// <inheritdoc/>
    public RmaEndpointStatistics GetStatistics()
    {
        RmaEndpointStatistics now = _starter.Snapshot() with { UnreadNotifications = _notifications.Count, Peers = _states.CountByState() };
        return _gate.IsClosed ? now with { State = RmaEndpointState.Closed } : now;
    }

    /// <inheritdoc/>
    public bool TryPost(in RmaOperation operation)
    {
        Enter();
        try
        {
            CheckOperation(operation);
            bool posted = false;
            // The operation counts until Poll has taken its completion, so that the completions have room for it.
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
        catch (ArgumentException e) when (e.ParamName != nameof(operation))
        {
            throw EndpointChecks.AsPosted(e, nameof(operation));
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
                _starter.TryRunOrBreak();
                taken += _completions.Take(completions[taken..]);
            }
            if (taken > 0)
                Interlocked.Add(ref _withoutTask, -taken);
            return taken;
        }
        finally
        {
            _gate.Exit();
            InlineContinuation.RunDue();
        }
    }

    /// <summary>The time-out of operations that don't specify one.</summary>
    internal TimeSpan OperationTimeout => _options.OperationTimeout;

    /// <summary>The maximum number of outstanding operations.</summary>
    internal int MaxOutstanding => _options.MaxOutstanding;

    /// <summary>Whether a thread of the endpoint makes progress.</summary>
    internal bool HasOwnThread => _starter.Loop is not null;

    /// <summary>Passes each notification to the handler when it is found, instead of keeping it for readers.</summary>
    internal void TakeNotifications(INotificationSink sink) => _notifications.Sink = sink;

    /// <summary>
    /// Declares that the caller, which has inserted a peer, starts no more operations with it, so that the peer may go away.
    /// If all callers that inserted the peer have declared this and no operation with it is outstanding, its loss is neither
    /// logged nor counted nor reported.
    /// </summary>
    internal void FinishPeer(RmaPeer peer) => Entry(peer).Finish();

    /// <summary>
    /// Makes <see cref="InlineContinuation.Schedule(IThreadPoolWorkItem)"/> run work items that it receives inside a turn on
    /// the endpoint's own thread, from now on.
    /// </summary>
    internal void RunInline()
    {
        _starter.Progress.RunInline();
        _starter.Loop?.RunInline();
    }

    /// <summary>Starts an operation whose owner is notified as soon as its end is found. Nothing is awaited or allocated.</summary>
    /// <returns>False if the limit of outstanding operations is reached; try again once one has ended.</returns>
    /// <exception cref="RmaOperationException">The operation can't be started: its peer is lost, or the endpoint has failed.</exception>
    internal bool TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        Enter();
        try
        {
            CheckOperation(operation);
            return _starter.TryStart(operation, owner);
        }
        finally
        {
            _gate.Exit();
        }
    }

    private void Check(RmaPeer peer) => EndpointChecks.ThrowIfNotInsertedAt(this, peer, nameof(peer));

    /// <summary>Reports that a peer can no longer be reached: operations to it fail from now on. Any thread may call this.</summary>
    internal void Lose(RmaDriverPeer peer, PeerLoss loss)
    {
        bool isExpected = PeerTable.MayGo(peer, _starter.Slots);
        if (!_states.Lose(peer, loss with { IsReported = !isExpected }))
            return;
        // An operation that is not seen in its slot when outstanding operations are ended will itself see the loss.
        Interop.Fence.Full();
        _starter.OnPeerLost();
    }

    internal void WakeForCompletions() => Volatile.Read(in _starter)?.WakeForCompletions();

    /// <summary>Returns the driver's object for a peer of this endpoint.</summary>
    private protected RmaDriverPeer Entry(RmaPeer peer)
    {
        Check(peer);
        return peer.Entry!;
    }

    private static TransportDescription Copy(RmaContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return context.Description.Copy();
    }

    private void Enter()
    {
        if (!_gate.TryEnter())
            throw _errors.Disposed();
    }

    private void ThrowIfClosed()
    {
        if (_gate.IsClosed)
            throw _errors.Disposed();
    }
}
