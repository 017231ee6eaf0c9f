using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AllocTools.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>Keeps the notifications of peers' writes until the application reads them.</summary>
/// <remarks>
/// The queue is bounded. A transport can't refuse a write because of its notification. Notifications without room are
/// therefore lost, counted, and reported to the next reader, so that it does not continue as if nothing were missing.
/// If the endpoint can no longer make progress, readers get that error after they have read the remaining
/// notifications, because no more will arrive.
/// </remarks>
internal sealed class NotificationQueue : IAwaited
{
    private readonly Channel<RmaNotification> _queue;
    private readonly EndpointCounters _counters;
    private readonly int _room;
    private readonly Action _onLost;
    private INotificationSink? _sink;
    private bool _hasEnded;
    private long _lost;
    private RmaException? _failure;

    /// <param name="room">The number of notifications that are kept.</param>
    /// <param name="counters">Counts lost notifications.</param>
    /// <param name="onLost">Called when a notification is lost for the first time, or for the first time since the last report.</param>
    public NotificationQueue(int room, EndpointCounters counters, Action onLost)
    {
        _room = room;
        _counters = counters;
        _onLost = onLost;
        _queue = Channel.CreateBounded<RmaNotification>(new BoundedChannelOptions(room) { FullMode = BoundedChannelFullMode.Wait, SingleWriter = true });
    }

    /// <summary>The number of unread notifications.</summary>
    public int Count => _queue.Reader.Count;

    /// <summary>Receives all notifications from now on, instead of the queue.</summary>
    public INotificationSink? Sink { set => Volatile.Write(ref _sink, value); }

    /// <summary>Adds a notification. The caller must hold the progress turn.</summary>
    public void Add(ulong value, RmaPeer? sender)
    {
        if (Volatile.Read(ref _sink) is { } sink)
        {
            sink.OnNotification(value, sender);
            return;
        }
        // After the end, the queue accepts nothing. Notifications of peers that go on writing have no reader, and don't count as lost.
        if (_queue.Writer.TryWrite(new RmaNotification(value, sender)) || Volatile.Read(ref _hasEnded))
            return;
        _counters.LostNotification();
        if (Interlocked.Increment(ref _lost) == 1)
            _onLost();
    }

    public int Take(Span<RmaNotification> into)
    {
        int taken = 0;
        while (taken < into.Length && _queue.Reader.TryRead(out into[taken]))
            taken++;
        return taken;
    }

    /// <summary>Whether there is something to read or report, or no more notifications will arrive.</summary>
    bool IAwaited.HasEnded(short token) => Count > 0 || Volatile.Read(ref _lost) != 0 || _queue.Reader.Completion.IsCompleted;

    /// <summary>Reads until the endpoint is closed.</summary>
    /// <param name="starter">Makes progress for a while before the reader suspends.</param>
    /// <param name="cancellationToken">Ends the reader.</param>
    public async IAsyncEnumerable<RmaNotification> ReadAsync(OperationStarter starter, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ChannelReader<RmaNotification> reader = _queue.Reader;
        while (true)
        {
            ThrowIfLost();
            while (reader.TryRead(out RmaNotification notification))
                yield return notification;
            cancellationToken.ThrowIfCancellationRequested();
            ThrowIfFailed();
            if (starter.TryEnd(this) || await WaitAsync(reader, starter, cancellationToken).ConfigureAwait(false))
                continue;
            ThrowIfLost();
            yield break;
        }
    }

    private static async ValueTask<bool> WaitAsync(ChannelReader<RmaNotification> reader, OperationStarter starter, CancellationToken cancellationToken)
    {
        starter.OnSuspending();
        try
        {
            return await reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            starter.OnResumed();
        }
    }

    /// <summary>Ends the queue; notifications that are in it can still be read.</summary>
    public void Close()
    {
        Volatile.Write(ref _hasEnded, true);
        _queue.Writer.TryComplete();
    }

    /// <summary>Like <see cref="Close"/>, because the endpoint can no longer make progress.</summary>
    public void Fail(RmaException failure)
    {
        Volatile.Write(ref _failure, failure);
        Volatile.Write(ref _hasEnded, true);
        _queue.Writer.TryComplete(failure);
        Volatile.Read(ref _sink)?.OnFailed(failure);
    }

    /// <exception cref="RmaException">There are no notifications, and none will arrive, because the endpoint has failed.</exception>
    public void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is { } failure && Count == 0)
            throw failure;
    }

    /// <exception cref="RmaNotificationsLostException">Notifications were lost since the last report.</exception>
    public void ThrowIfLost()
    {
        if (Volatile.Read(ref _lost) != 0 && Interlocked.Exchange(ref _lost, 0) is > 0 and long lost)
            throw new RmaNotificationsLostException(lost, _room);
    }
}

/// <summary>Receives the notifications of an endpoint as they are found, instead of the queue that the application reads.</summary>
internal interface INotificationSink
{
    /// <summary>
    /// Called when a peer's write has completed, inside a progress turn and in the order of arrival, under the rules of
    /// <see cref="IOperationOwner.OnEnded"/>.
    /// </summary>
    void OnNotification(ulong value, RmaPeer? sender);

    /// <summary>Called when the endpoint can no longer make progress, so that no more notifications will arrive.</summary>
    void OnFailed(RmaException failure);
}
