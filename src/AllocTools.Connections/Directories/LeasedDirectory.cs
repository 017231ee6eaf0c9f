using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>Publications with their renewals, and watches, on top of a store.</summary>
/// <remarks>
/// A publication is renewed after a third of its lease, with a random deviation of 20 % so that processes that were
/// started together do not renew at the same time; after any failure, it is renewed after a tenth, because handlers and
/// service discovery are foreign code, and a directory must not stop its host. Requests for one publication are sent
/// one after the other (by its gate), so that a renewal can't overtake a removal.
/// </remarks>
internal sealed class LeasedDirectory : IRmaDirectory
{
    /// <summary>Changes within this time are combined. It doubles up to WatchInterval while a watch is woken without a change.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    private readonly IDirectoryStore _store;
    private readonly RmaDirectoryOptions _options;
    private readonly DirectoryMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ConcurrentDictionary<(string Name, Guid Process), Publication> _publications = new();
    private readonly ConcurrentDictionary<string, bool> _namesWithMistakes = new();
    private TaskCompletionSource _added = NewSignal();
    private long _lastRevision;
    private bool _isRenewalFailing;

    public LeasedDirectory(IDirectoryStore store, IOptions<RmaDirectoryOptions> options, DirectoryMetrics metrics, ILoggerFactory loggerFactory, TimeProvider? time = null)
    {
        _store = store;
        _options = options.Value;
        _metrics = metrics;
        _time = time ?? TimeProvider.System;
        _logger = loggerFactory.CreateLogger(ConnectionsLog.DirectoryCategory);
        metrics.Publications = () => _publications.Count;
    }

    public async ValueTask<RmaPublication> PublishAsync(RmaDirectoryEntry entry, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(entry);
        var record = new DirectoryRecord(entry, NextRevision());
        int length = record.Encode().Length;
        if (length > _options.MaxEntryBytes)
            throw new ArgumentException($"The entry '{entry.Name}' takes {InWords.Size(length)}; it must take at most {InWords.Size(_options.MaxEntryBytes)} (MaxEntryBytes). Publish fewer exposures, or raise MaxEntryBytes on all peers.", nameof(entry));
        while (true)
        {
            Publication publication = _publications.GetOrAdd(record.Key, static _ => new Publication());
            await publication.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                // Another call may have removed it while this one waited.
                if (publication.IsRemoved)
                    continue;
                if (publication.Record is { } newer && newer.Revision > record.Revision)
                    return new RmaPublication(this, record);
                await PublishAsync(publication, record, cancellationToken).ConfigureAwait(false);
                return new RmaPublication(this, record);
            }
            finally
            {
                publication.Gate.Release();
            }
        }
    }

    public async ValueTask<IReadOnlyList<RmaDirectoryEntry>> ResolveAsync(string name, CancellationToken cancellationToken = default)
    {
        ThrowIfNoName(name);
        DirectoryAnswer answer = await ReadAsync(name, cancellationToken).ConfigureAwait(false);
        return [.. answer.Records.Select(static r => r.Entry)];
    }

    public IAsyncEnumerable<IReadOnlyList<RmaDirectoryEntry>> WatchAsync(string name, CancellationToken cancellationToken = default)
    {
        ThrowIfNoName(name);
        return WatchCoreAsync(name, cancellationToken);
    }

    /// <summary>Removes a record, unless another one has replaced it. It throws only on the caller's cancellation.</summary>
    public async ValueTask RemoveAsync(DirectoryRecord record, CancellationToken cancellationToken)
    {
        if (!_publications.TryGetValue(record.Key, out Publication? publication))
            return;
        await publication.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (publication.IsRemoved || publication.Record != record)
                return;
            publication.IsRemoved = true;
            _publications.TryRemove(record.Key, out _);
            await MeasureAsync("remove", () => _store.RemoveAsync(record, cancellationToken), cancellationToken).ConfigureAwait(false);
        }
        catch (RmaDirectoryException e)
        {
            ConnectionsLog.RemovalFailed(_logger, e.Message);
        }
        finally
        {
            publication.Gate.Release();
        }
    }

    /// <summary>Removes all records when the host stops.</summary>
    public Task RemoveAllAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(_publications.Values.Select(static p => p.Record).OfType<DirectoryRecord>().Select(r => RemoveAsync(r, cancellationToken).AsTask()));

    /// <summary>Logs if the directory can't be reached at startup.</summary>
    public async Task CheckAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _store.CheckAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (RmaDirectoryException e)
        {
            ConnectionsLog.StartFailed(_logger, e.Message);
        }
    }

    /// <summary>Renews all publications until it is cancelled.</summary>
    public async Task RenewAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            Task added = Volatile.Read(ref _added).Task;
            TimeSpan wait = _publications.Values.Select(p => p.DueAt - Now()).Append(_options.Lease).Min();
            if (wait > TimeSpan.Zero)
            {
                using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                await Task.WhenAny(added, Task.Delay(wait, _time, cancel.Token)).ConfigureAwait(false);
                await cancel.CancelAsync().ConfigureAwait(false);
                // Publications that were added meanwhile are seen in the next round, because they are added before they are announced.
                if (added.IsCompleted)
                    Volatile.Write(ref _added, NewSignal());
                continue;
            }
            await Task.WhenAll(_publications.Values.Where(p => p.DueAt <= Now()).Select(p => RenewAsync(p, cancellationToken))).ConfigureAwait(false);
        }
    }

    private async Task PublishAsync(Publication publication, DirectoryRecord record, CancellationToken cancellationToken)
    {
        bool isPublished = false;
        try
        {
            await MeasureAsync("publish", () => _store.PutAsync(record, _options.Lease, cancellationToken), cancellationToken).ConfigureAwait(false);
            isPublished = true;
        }
        finally
        {
            if (isPublished)
            {
                publication.Record = record;
                publication.DueAt = Now() + Around(_options.Lease / 3);
                Volatile.Read(ref _added).TrySetResult();
            }
            else if (publication.Record is null)
            {
                publication.IsRemoved = true;
                _publications.TryRemove(record.Key, out _);
            }
        }
    }

    private async Task RenewAsync(Publication publication, CancellationToken cancellationToken)
    {
        await publication.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (publication.IsRemoved || publication.Record is not { } record)
                return;
            await MeasureAsync("renew", () => _store.PutAsync(record, _options.Lease, cancellationToken), cancellationToken).ConfigureAwait(false);
            publication.DueAt = Now() + Around(_options.Lease / 3);
            if (Interlocked.Exchange(ref _isRenewalFailing, false))
                ConnectionsLog.Renewed(_logger);
        }
        catch (RmaDirectoryException e)
        {
            publication.DueAt = Now() + Around(_options.Lease / 10);
            if (!Interlocked.Exchange(ref _isRenewalFailing, true))
                ConnectionsLog.RenewalFailed(_logger, e.Message);
        }
        finally
        {
            publication.Gate.Release();
        }
    }

    private async IAsyncEnumerable<IReadOnlyList<RmaDirectoryEntry>> WatchCoreAsync(string name, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        IDirectoryWatch watch = await _store.WatchAsync(name, cancellationToken).ConfigureAwait(false);
        await using ConfiguredAsyncDisposable end = watch.ConfigureAwait(false);
        DirectoryAnswer? known = null;
        bool isFailing = false;
        TimeSpan pause = Pause;
        TimeSpan waited = _options.WatchInterval;
        while (true)
        {
            DirectoryAnswer? answer = null;
            bool isNews = false;
            try
            {
                answer = await ReadAsync(name, cancellationToken).ConfigureAwait(false);
                if (isFailing)
                    ConnectionsLog.WatchResumed(_logger);
                isFailing = false;
            }
            catch (RmaDirectoryException e)
            {
                if (!isFailing)
                    ConnectionsLog.WatchFailed(_logger, e.Message);
                isFailing = true;
            }
            if (answer is not null)
            {
                isNews = known is null || !known.Records.Select(static r => (r.Key, r.Revision)).SequenceEqual(answer.Records.Select(static r => (r.Key, r.Revision)));
                known = answer;
                if (isNews)
                    yield return [.. answer.Records.Select(static r => r.Entry)];
            }
            // A source that wakes a watch without news must not do so endlessly: a peer, or a proxy before it, may report a change at every request.
            pause = isNews || waited >= _options.WatchInterval ? Pause : Shorter(pause * 2, _options.WatchInterval);
            TimeSpan limit = isFailing || known!.FirstEnd == Timeout.InfiniteTimeSpan ? _options.WatchInterval : Shorter(known.FirstEnd > pause ? known.FirstEnd : pause, _options.WatchInterval);
            long start = _time.GetTimestamp();
            await watch.WaitAsync(isFailing ? DirectoryAnswer.None : known!, limit, cancellationToken).ConfigureAwait(false);
            waited = _time.GetElapsedTime(start);
            await Task.Delay(pause - waited > Pause ? pause - waited : Pause, _time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Reads and orders the entries: the newest of each process, and the newest of all first.</summary>
    private async Task<DirectoryAnswer> ReadAsync(string name, CancellationToken cancellationToken)
    {
        DirectoryAnswer answer = await MeasureAsync("resolve", () => _store.ReadAsync(name, cancellationToken), cancellationToken).ConfigureAwait(false);
        if (answer.Mistakes is not { Count: > 0 } mistakes)
            _namesWithMistakes.TryRemove(name, out _);
        else if (_namesWithMistakes.TryAdd(name, true))
            ConnectionsLog.EntriesIgnored(_logger, mistakes.Count, mistakes[0]);
        return answer with
        {
            Records = [.. answer.Records.GroupBy(static r => r.Key, static (_, all) => all.MaxBy(static r => r.Revision)!).OrderByDescending(static r => r.Revision).ThenBy(static r => r.Entry.Process)],
        };
    }

    private Task<bool> MeasureAsync(string operation, Func<Task> run, CancellationToken cancellationToken) => MeasureAsync(
        operation,
        async () =>
        {
            await run().ConfigureAwait(false);
            return true;
        },
        cancellationToken);

    /// <summary>Calls the store, and converts all its exceptions except the caller's cancellation.</summary>
    private Task<T> MeasureAsync<T>(string operation, Func<Task<T>> run, CancellationToken cancellationToken) => _metrics.MeasureAsync(operation, _time, _logger, async () =>
    {
        try
        {
            return await run().ConfigureAwait(false);
        }
        catch (Exception e) when (e is not RmaDirectoryException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new RmaDirectoryException($"The request to the directory failed: {e.GetType().Name}.", e) { ErrorType = "failed" };
        }
    });

    private static TimeSpan Shorter(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private long NextRevision()
    {
        long now = _time.GetUtcNow().UtcTicks;
        while (true)
        {
            long last = Volatile.Read(ref _lastRevision);
            long next = Math.Max(now, last + 1);
            if (Interlocked.CompareExchange(ref _lastRevision, next, last) == last)
                return next;
        }
    }

    private TimeSpan Now() => _time.GetElapsedTime(0);

    private static TimeSpan Around(TimeSpan time) => time * (RandomNumberGenerator.GetInt32(800, 1200) / 1000.0);

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static void ThrowIfNoName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (RmaDirectoryEntry.FindErrorOfName(name, "an entry") is { } error)
            throw new ArgumentException(error, nameof(name));
    }

    private sealed class Publication
    {
        private long _dueTicks = TimeSpan.MaxValue.Ticks;

        public SemaphoreSlim Gate { get; } = new(1);

        /// <summary>The published record; null if there is none yet. The owner of the gate sets it.</summary>
        public DirectoryRecord? Record { get; set; }

        public bool IsRemoved { get; set; }

        /// <summary>The time of its next renewal.</summary>
        public TimeSpan DueAt
        {
            get => new(Volatile.Read(ref _dueTicks));
            set => Volatile.Write(ref _dueTicks, value.Ticks);
        }
    }
}
