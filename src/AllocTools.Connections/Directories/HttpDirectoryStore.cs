using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Headers;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.ServiceDiscovery;

namespace AllocTools.Connections.Directories;

/// <summary>A directory that is kept by its peers, over HTTP.</summary>
/// <remarks>
/// Each entry is sent to all peers, and a name is requested from all; an entry exists if one of them has it. So the
/// directory works as long as one of them can be reached, and a restarted peer has all entries again when the
/// publishers have renewed them. The peers need no consensus protocol: leases and revisions are enough.
/// </remarks>
internal sealed class HttpDirectoryStore : IDirectoryStore
{
    /// <summary>The name of the HTTP client.</summary>
    public const string ClientName = "AllocTools.Connections.Directory";

    private const int MostPeers = 64;

    private readonly IHttpClientFactory _clients;
    private readonly ServiceEndpointResolver _resolver;
    private readonly RmaDirectoryOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Uri _service;
    private readonly string _path;
    private readonly string _origin;
    private bool _isFailing;

    public HttpDirectoryStore(
        IHttpClientFactory clients, ServiceEndpointResolver resolver, IOptions<RmaDirectoryOptions> options, DirectoryRegistration registration, ILoggerFactory loggerFactory, TimeProvider? time = null)
    {
        _clients = clients;
        _resolver = resolver;
        _options = options.Value;
        _time = time ?? TimeProvider.System;
        _logger = loggerFactory.CreateLogger(ConnectionsLog.DirectoryCategory);
        _origin = registration.Origin;
        _service = new Uri(_options.Peers!);
        string path = _service.AbsolutePath.TrimEnd('/');
        _path = path.Length == 0 ? DirectoryWire.DefaultPath : path;
    }

    public Task PutAsync(DirectoryRecord record, TimeSpan lease, CancellationToken cancellationToken)
    {
        byte[] body = record.Encode();
        return AskAllAsync(
            (peer, _, cancelled) => SendAsync(
                peer,
                HttpMethod.Put,
                $"{DirectoryWire.PathOf(record.Entry.Name, record.Entry.Process)}?lease={DirectoryWire.Milliseconds(lease)}",
                static _ => Task.FromResult(true),
                cancelled,
                body),
            cancellationToken);
    }

    public Task RemoveAsync(DirectoryRecord record, CancellationToken cancellationToken) => AskAllAsync(
        (peer, _, cancelled) => SendAsync(
            peer,
            HttpMethod.Delete,
            $"{DirectoryWire.PathOf(record.Entry.Name, record.Entry.Process)}?revision={record.Revision}",
            static _ => Task.FromResult(true),
            cancelled),
        cancellationToken);

    public async Task<DirectoryAnswer> ReadAsync(string name, CancellationToken cancellationToken)
    {
        List<(Uri Peer, (DirectoryAnswer Answer, string? Tag) Result)> results = await AskAllAsync(
            (peer, peers, cancelled) => SendAsync(peer, HttpMethod.Get, name, response => ReadEntriesAsync(response, name, DirectoryWire.MostAnswer(_options, peers), cancelled), cancelled), cancellationToken).ConfigureAwait(false);
        return new DirectoryAnswer(
            [.. results.SelectMany(static r => r.Result.Answer.Records)],
            results.Select(static r => r.Result.Answer.FirstEnd).Where(static e => e != Timeout.InfiniteTimeSpan).DefaultIfEmpty(Timeout.InfiniteTimeSpan).Min(),
            results.Where(static r => r.Result.Tag is not null).ToImmutableDictionary(static r => r.Peer, static r => r.Result.Tag!),
            [.. results.SelectMany(static r => r.Result.Answer.Mistakes ?? [])]);
    }

    public ValueTask<IDirectoryWatch> WatchAsync(string name, CancellationToken cancellationToken) => ValueTask.FromResult<IDirectoryWatch>(new Watch(this, name));

    /// <summary>Finds all peers and sends requests to all of them in parallel, within the time of one request.</summary>
    /// <param name="ask">Sends the request to one peer; its argument is the number of all peers.</param>
    /// <param name="cancellationToken">The caller's token.</param>
    /// <returns>The answers, of which there is at least one.</returns>
    private async Task<List<(Uri Peer, T Result)>> AskAllAsync<T>(Func<Uri, int, CancellationToken, Task<T>> ask, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(_options.RequestTimeout, _time);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        Uri[] peers;
        try
        {
            peers = await FindPeersAsync(cancel.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new RmaDirectoryException($"Service discovery did not resolve the directory's peers ({_origin}Peers) within {InWords.Time(_options.RequestTimeout)} (RequestTimeout).", e) { ErrorType = "discovery" };
        }
        List<(Uri, T)> results = [];
        List<RmaDirectoryException> errors = [];
        await foreach (Task<(Uri Peer, T Result)> ended in Task.WhenEach(peers.Select(p => AskAsync(p, peer => ask(peer, peers.Length, cancel.Token), cancel.Token, cancellationToken))).ConfigureAwait(false))
        {
            try
            {
                results.Add(await ended.ConfigureAwait(false));
            }
            catch (RmaDirectoryException e)
            {
                errors.Add(e);
            }
        }
        if (results.Count == 0)
            throw new RmaDirectoryException($"None of the {InWords.Count(peers.Length, "peer", "peers")} of the directory ({_origin}Peers) gave a valid answer. The first: {errors[0].Message}", errors[0]) { ErrorType = errors[0].ErrorType };
        if (errors.Count == 0 && Interlocked.Exchange(ref _isFailing, false))
            ConnectionsLog.PeersAnswer(_logger, peers.Length);
        else if (errors.Count != 0 && !Interlocked.Exchange(ref _isFailing, true))
            ConnectionsLog.PeersFailed(_logger, errors.Count, peers.Length, errors[0].Message);
        return results;
    }

    /// <summary>
    /// Sends a request to a peer through the handlers of its HTTP client, which may be foreign code: they may throw
    /// anything, and may ignore a cancellation.
    /// </summary>
    /// <param name="peer">The peer.</param>
    /// <param name="ask">Sends the request.</param>
    /// <param name="ends">Ends the request: the caller's cancellation, or the end of the time.</param>
    /// <param name="cancellationToken">Only the caller's token.</param>
    private async Task<(Uri Peer, T Result)> AskAsync<T>(Uri peer, Func<Uri, Task<T>> ask, CancellationToken ends, CancellationToken cancellationToken)
    {
        try
        {
            return (peer, await ask(peer).WaitAsync(ends).ConfigureAwait(false));
        }
        catch (Exception) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (OperationCanceledException e) when (ends.IsCancellationRequested)
        {
            throw new RmaDirectoryException($"A peer did not answer within {InWords.Time(_options.RequestTimeout)} (RequestTimeout).", e) { ErrorType = "timeout" };
        }
        catch (Exception e) when (e is not RmaDirectoryException)
        {
            throw new RmaDirectoryException($"The request to a peer failed: a handler of the HTTP client threw {e.GetType().Name}.", e) { ErrorType = "handler" };
        }
    }

    private async Task<Uri[]> FindPeersAsync(CancellationToken cancellationToken)
    {
        Uri[] peers;
        try
        {
            ServiceEndpointSource source = await _resolver.GetEndpointsAsync(_service.GetLeftPart(UriPartial.Authority), cancellationToken).AsTask().WaitAsync(cancellationToken).ConfigureAwait(false);
            peers = [.. source.Endpoints.Select(e => AddressOf(e.EndPoint)).Distinct()];
        }
        catch (Exception e) when (e is not RmaDirectoryException && !cancellationToken.IsCancellationRequested)
        {
            // Providers of service discovery are foreign code.
            throw new RmaDirectoryException($"Service discovery could not resolve the directory's peers ({_origin}Peers): {e.Message}", e) { ErrorType = "discovery" };
        }
        return peers.Length is > 0 and <= MostPeers
            ? peers
            : throw new RmaDirectoryException($"Service discovery resolved the directory's peers ({_origin}Peers) to {peers.Length} end points; there must be between 1 and {MostPeers}.") { ErrorType = "discovery" };
    }

    private Uri AddressOf(EndPoint endPoint)
    {
        int port(int given) => given == 0 ? _service.Port : given;
        return endPoint switch
        {
            UriEndPoint { Uri: var uri } => new UriBuilder(uri.Scheme is "http" or "https" ? uri.Scheme : _service.Scheme, uri.Host, port(uri.IsDefaultPort && uri.Scheme is not ("http" or "https") ? 0 : uri.Port), _path + "/").Uri,
            IPEndPoint ip => new UriBuilder(_service.Scheme, ip.Address.ToString(), port(ip.Port), _path + "/").Uri,
            DnsEndPoint dns => new UriBuilder(_service.Scheme, dns.Host, port(dns.Port), _path + "/").Uri,
            _ => throw new RmaDirectoryException($"Service discovery resolved a peer of the directory to a {endPoint.GetType().Name}; it must be a URI, an IP address or a DNS name, with a port.") { ErrorType = "discovery" },
        };
    }

    private async Task<T> SendAsync<T>(Uri peer, HttpMethod method, string path, Func<HttpResponseMessage, Task<T>> read, CancellationToken cancellationToken, byte[]? body = null, string? tag = null)
    {
        using var request = new HttpRequestMessage(method, new Uri(peer, path)) { Version = HttpVersion.Version11, VersionPolicy = HttpVersionPolicy.RequestVersionOrHigher };
        // The name that a certificate is for is used, even if service discovery returns addresses.
        if (peer.HostNameType is UriHostNameType.IPv4 or UriHostNameType.IPv6 && _service.HostNameType == UriHostNameType.Dns && _service.Scheme == Uri.UriSchemeHttps)
            request.Headers.Host = _service.Host;
        if (body is not null)
            request.Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        if (tag is not null)
            request.Headers.IfNoneMatch.Add(new EntityTagHeaderValue($"\"{tag}\""));
        try
        {
            HttpClient client = _clients.CreateClient(ClientName);
            using HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
            if (!response.IsSuccessStatusCode && response.StatusCode != HttpStatusCode.NotModified)
                throw new RmaDirectoryException($"A peer answered {(int)response.StatusCode}{await DirectoryWire.ReadReasonAsync(response, cancellationToken).ConfigureAwait(false)}") { ErrorType = ((int)response.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture) };
            return await read(response).ConfigureAwait(false);
        }
        catch (HttpRequestException e)
        {
            throw new RmaDirectoryException($"The request to a peer failed: {DirectoryWire.Describe(e)}.", e) { ErrorType = e.HttpRequestError == HttpRequestError.ConnectionError ? "unreachable" : e.HttpRequestError.ToString() };
        }
        catch (IOException e) when (e is not RmaDirectoryException)
        {
            throw new RmaDirectoryException("The request to a peer failed: its answer was truncated.", e) { ErrorType = "cut" };
        }
    }

    private async Task<(DirectoryAnswer Answer, string? Tag)> ReadEntriesAsync(HttpResponseMessage response, string name, long most, CancellationToken cancellationToken)
    {
        byte[] json = await DirectoryWire.ReadBodyAsync(response, most, cancellationToken).ConfigureAwait(false)
            ?? throw new RmaDirectoryException($"A peer's answer is too long. It must be at most {InWords.Size(most)} (MaxEntriesPerName entries of MaxEntryBytes, and its part of MaxBytes).") { ErrorType = "invalid" };
        if (!DirectoryWire.TryReadEntries(json, name, _options.MaxEntriesPerName, out DirectoryAnswer? answer, out string? error))
            throw new RmaDirectoryException($"A peer's answer is not valid: {error}.") { ErrorType = "invalid" };
        return (answer, response.Headers.ETag is { Tag: { Length: > 2 and <= 66 } tag } ? tag.Trim('"') : null);
    }

    private sealed class Watch(HttpDirectoryStore owner, string name) : IDirectoryWatch
    {
        public async Task WaitAsync(DirectoryAnswer known, TimeSpan limit, CancellationToken cancellationToken)
        {
            using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            try
            {
                // A peer that has not reported its state can't be asked for a different one.
                var tags = (ImmutableDictionary<Uri, string>?)known.State ?? ImmutableDictionary<Uri, string>.Empty;
                var changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Task[] polls = [.. tags.Select(t => PollAsync(t.Key, t.Value, limit, changed, cancel.Token)), Task.Delay(limit, owner._time, cancel.Token)];
                // The peers answer at the limit; a request is aborted only if one of them does not.
                await Task.WhenAny(changed.Task, Task.WhenAll(polls), Task.Delay(limit + owner._options.RequestTimeout, owner._time, cancel.Token)).ConfigureAwait(false);
            }
            finally
            {
                await cancel.CancelAsync().ConfigureAwait(false);
            }
            cancellationToken.ThrowIfCancellationRequested();
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        /// <summary>Completes when a peer's state has changed, when the time is up, or when the peer can't be queried.</summary>
        private async Task PollAsync(Uri peer, string tag, TimeSpan limit, TaskCompletionSource changed, CancellationToken cancellationToken)
        {
            long start = owner._time.GetTimestamp();
            try
            {
                while (limit - owner._time.GetElapsedTime(start) is var left && left > TimeSpan.Zero)
                {
                    TimeSpan wait = left < DirectoryWire.MostWait ? left : DirectoryWire.MostWait;
                    // A peer that immediately reports no change is not queried more often.
                    Task pause = Task.Delay(wait, owner._time, cancellationToken);
                    (_, bool isChanged) = await owner.AskAsync(
                        peer,
                        p => owner.SendAsync(p, HttpMethod.Get, $"{name}?wait={DirectoryWire.Milliseconds(wait)}", static r => Task.FromResult(r.StatusCode != HttpStatusCode.NotModified), cancellationToken, tag: tag),
                        CancellationToken.None,
                        cancellationToken).ConfigureAwait(false);
                    if (isChanged)
                    {
                        changed.TrySetResult();
                        return;
                    }
                    await pause.ConfigureAwait(false);
                }
            }
            catch (RmaDirectoryException)
            {
                // The next read reports it.
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // Another peer has a change, or the watch ends.
            }
        }
    }
}
