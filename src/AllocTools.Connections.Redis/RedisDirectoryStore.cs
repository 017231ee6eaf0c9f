using System.Globalization;
using AllocTools.Connections.Directories;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace AllocTools.Connections.Redis;

/// <summary>A directory that is kept on Redis.</summary>
/// <remarks>
/// <para>
/// A name is a hash, whose fields are the processes. A value consists of the time at which its lease ends (by Redis'
/// clock), the revision in 19 digits, and the entry's JSON. The whole key expires with the last lease. Scripts check
/// the time and the revision, so that only one clock counts and each change is atomic.
/// </para>
/// <para>Each change is announced on a channel of the name. Announcements may be lost, and the end of a lease is not
/// announced, so watches also read again at intervals.</para>
/// </remarks>
internal sealed class RedisDirectoryStore : IDirectoryStore, IDisposable, IAsyncDisposable
{
    private const string Put = """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local count = 0
        local all = redis.call('HGETALL', KEYS[1])
        for i = 1, #all, 2 do
            local ends = tonumber(string.match(all[i + 1], '^(%d+) '))
            if ends and ends > now then
                count = count + 1
            else
                redis.call('HDEL', KEYS[1], all[i])
            end
        end
        local old = redis.call('HGET', KEYS[1], ARGV[1])
        local revision = old and string.match(old, '^%d+ (%d+) ')
        if revision and revision > ARGV[2] then
            return -1
        end
        if not old and count >= tonumber(ARGV[5]) then
            return count
        end
        redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s ', now + ARGV[4], ARGV[2]) .. ARGV[3])
        if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
            redis.call('PEXPIRE', KEYS[1], ARGV[4])
        end
        if revision ~= ARGV[2] then
            redis.call('PUBLISH', ARGV[6], '')
        end
        return 0
        """;

    private const string Remove = """
        local old = redis.call('HGET', KEYS[1], ARGV[1])
        local revision = old and string.match(old, '^%d+ (%d+) ')
        if revision and revision <= ARGV[2] then
            redis.call('HDEL', KEYS[1], ARGV[1])
            redis.call('PUBLISH', ARGV[3], '')
        end
        return 0
        """;

    private const string Read = """
        local count = redis.call('HLEN', KEYS[1])
        if count > tonumber(ARGV[1]) then
            return count
        end
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local found = {}
        local all = redis.call('HGETALL', KEYS[1])
        for i = 1, #all, 2 do
            local ends, json = string.match(all[i + 1], '^(%d+) %d+ (.*)$')
            local left = ends and tonumber(ends) - now
            if not left or #json > tonumber(ARGV[2]) then
                found[#found + 1] = '0'
                found[#found + 1] = ''
            elseif left > 0 then
                found[#found + 1] = string.format('%.0f', left)
                found[#found + 1] = json
            end
        end
        return found
        """;

    private readonly RmaDirectoryOptions _options;
    private readonly RmaRedisDirectoryOptions _redis;
    private readonly IServiceProvider _services;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private Task<IConnectionMultiplexer>? _connection;
    private bool _isDisposed;

    public RedisDirectoryStore(
        IOptions<RmaDirectoryOptions> options, IOptions<RmaRedisDirectoryOptions> redis, IServiceProvider services, TimeProvider? time = null)
    {
        _options = options.Value;
        _redis = redis.Value;
        _services = services;
        _time = time ?? TimeProvider.System;
    }

    public Task CheckAsync(CancellationToken cancellationToken) =>
        RunAsync(async () => await (await GetConnectionAsync().ConfigureAwait(false)).GetDatabase().PingAsync().ConfigureAwait(false), cancellationToken);

    public async Task PutAsync(DirectoryRecord record, TimeSpan lease, CancellationToken cancellationToken)
    {
        string key = KeyOf(record.Entry.Name);
        RedisResult result = await RunAsync(
            Put,
            key,
            [record.Entry.Process.ToString("N"), Digits(record.Revision), record.Encode(), (long)lease.TotalMilliseconds, _options.MaxEntriesPerName, key],
            cancellationToken).ConfigureAwait(false);
        if ((int)result is var count && count < 0)
            throw new RmaDirectoryException($"Redis has a newer entry from this process under the name '{record.Entry.Name}'.") { ErrorType = "newer" };
        if (count > 0)
            throw new RmaDirectoryException($"Redis already has {count} entries under the name '{record.Entry.Name}', the most that MaxEntriesPerName ({_options.MaxEntriesPerName}) allows.") { ErrorType = "full" };
    }

    public Task RemoveAsync(DirectoryRecord record, CancellationToken cancellationToken)
    {
        string key = KeyOf(record.Entry.Name);
        return RunAsync(Remove, key, [record.Entry.Process.ToString("N"), Digits(record.Revision), key], cancellationToken);
    }

    public async Task<DirectoryAnswer> ReadAsync(string name, CancellationToken cancellationToken)
    {
        RedisResult result = await RunAsync(Read, KeyOf(name), [_options.MaxEntriesPerName, _options.MaxEntryBytes], cancellationToken).ConfigureAwait(false);
        if (result.Resp2Type == ResultType.Integer)
            throw new RmaDirectoryException($"Redis has {(long)result} entries under the name '{name}'; there must be at most {_options.MaxEntriesPerName} (MaxEntriesPerName).") { ErrorType = "invalid" };
        RedisValue[] values = (RedisValue[])result!;
        List<DirectoryRecord> records = [];
        List<string> mistakes = [];
        TimeSpan first = Timeout.InfiniteTimeSpan;
        for (int i = 0; i + 1 < values.Length; i += 2)
        {
            if (!DirectoryRecord.TryRead((byte[])values[i + 1]!, name, out DirectoryRecord? record, out string? mistake))
            {
                mistakes.Add(mistake);
                continue;
            }
            records.Add(record);
            // The time is limited to 24 hours. A longer lease is then checked again before its end.
            var left = TimeSpan.FromMilliseconds(Math.Min((double)values[i], TimeSpan.FromDays(1).TotalMilliseconds));
            if (first == Timeout.InfiniteTimeSpan || left < first)
                first = left;
        }
        return new DirectoryAnswer(records, first, Mistakes: mistakes);
    }

    public ValueTask<IDirectoryWatch> WatchAsync(string name, CancellationToken cancellationToken) => ValueTask.FromResult<IDirectoryWatch>(new Watch(this, RedisChannel.Literal(KeyOf(name))));

    public void Dispose()
    {
        // A connection that is still being established is closed once it is there.
        End()?.ContinueWith(static c => c.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    public async ValueTask DisposeAsync()
    {
        if (End() is not { } connection)
            return;
        await ((Task)connection).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (connection.IsCompletedSuccessfully)
            await connection.Result.DisposeAsync().ConfigureAwait(false);
    }

    /// <returns>The connection that this directory must close.</returns>
    private Task<IConnectionMultiplexer>? End()
    {
        lock (_gate)
        {
            _isDisposed = true;
            return _redis.Configuration is null ? null : _connection;
        }
    }

    /// <summary>
    /// Gets the connection. It is created again after a failure, because the application's own connection may not have
    /// been available yet.
    /// </summary>
    private Task<IConnectionMultiplexer> GetConnectionAsync()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_connection is null or { IsFaulted: true } or { IsCanceled: true })
                _connection = Task.Run(ConnectAsync);
            return _connection;
        }
    }

    /// <summary>Returns the key of a name. The braces make a cluster keep the key and its channel together.</summary>
    private string KeyOf(string name) => $"{_redis.KeyPrefix}:{{{name}}}";

    /// <summary>
    /// Formats a revision with as many digits as make the order of texts that of the numbers. Lua's numbers are not
    /// precise enough.
    /// </summary>
    private static string Digits(long revision) => revision.ToString("D19", CultureInfo.InvariantCulture);

    private async Task<IConnectionMultiplexer> ConnectAsync()
    {
        if (_redis.Configuration is null)
            return _services.GetRequiredService<IConnectionMultiplexer>();
        var configuration = ConfigurationOptions.Parse(_redis.Configuration);
        // It connects as soon as possible, and reconnects after each break.
        configuration.AbortOnConnectFail = false;
        // A failed request must not be executed later, when the connection is available again.
        configuration.BacklogPolicy = BacklogPolicy.FailFast;
        configuration.ConnectTimeout = configuration.AsyncTimeout = (int)_options.RequestTimeout.TotalMilliseconds;
        return await ConnectionMultiplexer.ConnectAsync(configuration).ConfigureAwait(false);
    }

    private Task<RedisResult> RunAsync(string script, string key, RedisValue[] values, CancellationToken cancellationToken) =>
        RunAsync(async () => await (await GetConnectionAsync().ConfigureAwait(false)).GetDatabase().ScriptEvaluateAsync(script, [key], values).ConfigureAwait(false), cancellationToken);

    private async Task<T> RunAsync<T>(Func<Task<T>> run, CancellationToken cancellationToken)
    {
        try
        {
            return await run().WaitAsync(_options.RequestTimeout, _time, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or RedisTimeoutException)
        {
            throw new RmaDirectoryException($"Redis did not answer within {_options.RequestTimeout.TotalSeconds:0.###} s (RequestTimeout).", e) { ErrorType = "timeout" };
        }
        catch (RedisConnectionException e)
        {
            // The message of the exception itself contains the server's address.
            throw new RmaDirectoryException($"Redis can't be reached: {e.FailureType}.", e);
        }
        catch (RedisException e)
        {
            throw new RmaDirectoryException($"Redis refused the request: {e.Message}", e) { ErrorType = "refused" };
        }
        catch (ObjectDisposedException e)
        {
            throw new RmaDirectoryException("The connection to Redis is closed.", e) { ErrorType = "closed" };
        }
        catch (Exception e) when (e is not RmaDirectoryException && !cancellationToken.IsCancellationRequested)
        {
            // The application's own connection factory may have failed, its options may not allow a command, or an
            // answer may be malformed.
            throw new RmaDirectoryException($"The request to Redis failed: {e.GetType().Name}.", e) { ErrorType = "failed" };
        }
    }

    private sealed class Watch(RedisDirectoryStore owner, RedisChannel channel) : IDirectoryWatch
    {
        private readonly SemaphoreSlim _changed = new(0);
        private bool _isSubscribed;
        private Task? _last;

        public async Task WaitAsync(DirectoryAnswer known, TimeSpan limit, CancellationToken cancellationToken)
        {
            if (!_isSubscribed)
            {
                await SubscribeAsync(limit, cancellationToken).ConfigureAwait(false);
                return;
            }
            using var time = new CancellationTokenSource(limit, owner._time);
            using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, time.Token);
            try
            {
                await _changed.WaitAsync(ends.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The time is up.
            }
        }

        public ValueTask DisposeAsync() => new(UnsubscribeAsync());

        /// <summary>
        /// Unsubscribes, even if a subscription was not confirmed in time: it may still reach the server, and would
        /// remain with the connection.
        /// </summary>
        private async Task UnsubscribeAsync()
        {
            if (_last is null)
                return;
            try
            {
                await RunAsync(subscriber => subscriber.UnsubscribeAsync(channel, OnChanged), CancellationToken.None).ConfigureAwait(false);
            }
            catch (RmaDirectoryException)
            {
                // Without a connection there is no subscription.
            }
        }

        /// <summary>Subscribes. The read that follows finds earlier changes.</summary>
        private async Task SubscribeAsync(TimeSpan limit, CancellationToken cancellationToken)
        {
            // There must be only one handler for each watch, however often this is tried.
            await UnsubscribeAsync().ConfigureAwait(false);
            try
            {
                await RunAsync(subscriber => subscriber.SubscribeAsync(channel, OnChanged), cancellationToken).ConfigureAwait(false);
                _isSubscribed = true;
            }
            catch (RmaDirectoryException)
            {
                // The next read reports it.
                await Task.Delay(limit, owner._time, cancellationToken).ConfigureAwait(false);
            }
        }

        /// <summary>
        /// Runs a request after the previous one, and waits no longer than for a request. A request that has begun
        /// continues nevertheless, because the client can only cancel a subscription that it has completed.
        /// </summary>
        private Task<bool> RunAsync(Func<ISubscriber, Task> run, CancellationToken cancellationToken)
        {
            Task<bool> next = RunAfterAsync(_last ?? Task.CompletedTask, run);
            _last = next;
            return owner.RunAsync(() => next, cancellationToken);
        }

        private async Task<bool> RunAfterAsync(Task before, Func<ISubscriber, Task> run)
        {
            await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await run((await owner.GetConnectionAsync().ConfigureAwait(false)).GetSubscriber()).ConfigureAwait(false);
            return true;
        }

        private void OnChanged(RedisChannel from, RedisValue message)
        {
            if (_changed.CurrentCount == 0)
                _changed.Release();
        }
    }
}
