using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AllocTools.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>The notifications that peers' writes have brought, until the application reads them.</summary>
/// <remarks>
/// It is bounded. A transport has no way to refuse a write because of its number, so what finds no room is lost, counted, and
/// reported to the next reader, who does not go on as if nothing were missing. Where the endpoint can make no progress any
/// more, readers get that error once they have read what is there: what they wait for would never come.
/// </remarks>
internal sealed class NotificationQueue : IAwaited
{
    private readonly Channel<RmaNotification> _queue;
    private readonly EndpointCounters _counters;
    private readonly int _room;
    private readonly Action _onLost;
    private INotificationSink? _sink;
    private long _lost;
    private RmaException? _failure;

    /// <param name="room">How many are kept.</param>
    /// <param name="counters">Where lost ones are counted.</param>
    /// <param name="onLost">Called when one is lost while none was before, or since the last report.</param>
    public NotificationQueue(int room, EndpointCounters counters, Action onLost)
    {
        _room = room;
        _counters = counters;
        _onLost = onLost;
        _queue = Channel.CreateBounded<RmaNotification>(new BoundedChannelOptions(room) { FullMode = BoundedChannelFullMode.Wait, SingleWriter = true });
    }

    /// <summary>How many wait to be read.</summary>
    public int Count => _queue.Reader.Count;

    /// <summary>Takes all that comes from here on, in place of the queue.</summary>
    public INotificationSink? Sink { set => Volatile.Write(ref _sink, value); }

    /// <summary>The caller must hold the progress turn.</summary>
    public void Add(ulong value, RmaPeer? sender)
    {
        if (Volatile.Read(ref _sink) is { } sink)
        {
            sink.OnNotification(value, sender);
            return;
        }
        if (_queue.Writer.TryWrite(new RmaNotification(value, sender)))
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

    /// <summary>Something is there to be read or reported, or nothing comes any more.</summary>
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

    /// <summary>Nothing comes any more; what is there can still be read.</summary>
    public void Close() => _queue.Writer.TryComplete();

    /// <summary>As <see cref="Close"/>, because the endpoint can make no progress any more.</summary>
    public void Fail(RmaException failure)
    {
        Volatile.Write(ref _failure, failure);
        _queue.Writer.TryComplete(failure);
        Volatile.Read(ref _sink)?.OnFailed(failure);
    }

    /// <exception cref="RmaException">Nothing is there, and nothing will come: the endpoint has failed.</exception>
    public void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is { } failure && Count == 0)
            throw failure;
    }

    /// <exception cref="RmaNotificationsLostException">Some were lost since the last report.</exception>
    public void ThrowIfLost()
    {
        if (Volatile.Read(ref _lost) != 0 && Interlocked.Exchange(ref _lost, 0) is > 0 and long lost)
            throw new RmaNotificationsLostException(lost, _room);
    }
}

/// <summary>Takes the notifications of an endpoint where they are found, in place of the queue that the application reads.</summary>
internal interface INotificationSink
{
    /// <summary>A peer's write is done. Called inside a progress turn, in the order of arrival; as <see cref="IOperationOwner.OnEnded"/>.</summary>
    void OnNotification(ulong value, RmaPeer? sender);

    /// <summary>The endpoint can make no progress any more: none will come.</summary>
    void OnFailed(RmaException failure);
}
