using System.Net;
using System.Net.Sockets;
using System.Text;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Directory.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.ServiceDiscovery;

namespace AllocTools.Directory.Tests;

/// <summary>Tests the directory that two peers keep over HTTP.</summary>
public sealed class HttpDirectoryTests : DirectoryConformance
{
    private readonly HttpBed _bed = new();

    private protected override DirectoryBed Bed => _bed;

    [Fact]
    public async Task OnePeerIsEnough()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync(1);
        await _bed.StopPeerAsync(0);
        await other.HasAsync("a", 1);
        Assert.Contains("1 of 2 peers", await other.Log.SingleAsync(126), StringComparison.Ordinal);
        Assert.DoesNotContain("127.0.0.1", await other.Log.SingleAsync(126), StringComparison.Ordinal);
        await publisher.PublishAsync("a", 2);
        await watch.IsAsync(2);
        // The first peer starts empty, and the second one ends once the first one has everything.
        await _bed.StartPeerAsync(0);
        using var http = new HttpClient();
        using var limit = new CancellationTokenSource(Testing.TestTime.Seconds(20));
        while (!(await http.GetStringAsync($"{_bed.Urls[0]}/rma-directory/a", limit.Token)).Contains("server.example", StringComparison.Ordinal))
            await Task.Delay(20, limit.Token);
        await other.PortsAsync("a");
        await other.Log.SingleAsync(127);
        await _bed.StopPeerAsync(1);
        await other.HasAsync("a", 2);
    }

    [Theory]
    [InlineData("junk")]
    [InlineData("{}")]
    [InlineData("""{"entries":{}}""")]
    [InlineData("""{"entries":[{"left":1}],"entries":[]}""")]
    [InlineData("[[[[[[[[[[[[[[[[")]
    public async Task AnAnswerThatCantBeReadIsAClearError(string body)
    {
        await using WebApplication hostile = await StartAsync(context => context.Response.WriteAsync(body));
        await ErrorOfAsync(hostile, "A peer's answer is not valid");
    }

    [Theory]
    [InlineData("""{"left":-1,"entry":{}}""")]
    [InlineData("""{"left":99999999999999,"entry":{}}""")]
    [InlineData("""{"left":1000}""")]
    [InlineData("""{"left":1000,"entry":[]}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"b","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":1,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000000","revision":1,"host":"x","port":1,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":0,"host":"x","port":1,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x y","port":1,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"0.0.0.0","port":1,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":65536,"exposures":{}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":1,"exposures":{"m":"AAAA"}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":1,"exposures":{"a b":"AAAA"}}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":1}}""")]
    [InlineData("""{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000001","revision":1,"host":"x","port":1,"exposures":{},"more":1}}""")]
    public async Task AnEntryThatIsNotValidIsLeftOut(string entry)
    {
        const string Right = """{"left":1000,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000002","revision":1,"host":"x","port":9,"exposures":{}}}""";
        await using WebApplication hostile = await StartAsync(context => context.Response.WriteAsync($$"""{"entries":[{{entry}},{{Right}}]}"""));
        DirectoryProcess process = await ProcessOfAsync(hostile);
        await process.HasAsync("a", 9);
        await process.Log.SingleAsync(125);
    }

    [Fact]
    public async Task AnAnswerWithoutEndIsNotReadToTheEnd()
    {
        // This is a socket, because a web server that has not noticed yet that its peer is gone accepts any number of
        // bytes and sends none.
        using var hostile = new TcpListener(IPAddress.Loopback, 0);
        hostile.Start();
        Task<long> sending = Task.Run(async () =>
        {
            // This is the first request: the directory asks again for as long as it runs.
            using Socket socket = await hostile.AcceptSocketAsync(Token);
            await socket.SendAsync("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"u8.ToArray(), Token);
            byte[] piece = Encoding.UTF8.GetBytes($"10000\r\n{new string(' ', 65_536)}\r\n");
            long sent = 0;
            try
            {
                while (true)
                    sent += await socket.SendAsync(piece, Token);
            }
            catch (SocketException)
            {
                // The directory has closed the connection.
                return sent;
            }
        }, Token);
        await ErrorOfAsync($"http://{hostile.LocalEndpoint}", "MaxEntriesPerName entries of MaxEntryBytes", static o => (o.MaxEntriesPerName, o.MaxEntryBytes) = (2, 1024));
        // Without a reader, the system's buffers accept up to the last numbers of tcp_rmem and tcp_wmem: 36 MiB on many machines.
        Assert.InRange(await sending.WaitAsync(Testing.TestTime.Seconds(20), Token), 1, 256 << 20);
    }

    [Fact]
    public async Task APeerThatSaysNothingCostsNoMoreThanTheTimeOfARequest()
    {
        await using WebApplication hostile = await StartAsync(static context => Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(static _ => { }, TaskScheduler.Default));
        DirectoryProcess process = await ErrorOfAsync(hostile, "did not answer within 200 ms (RequestTimeout)", static o => o.RequestTimeout = TimeSpan.FromMilliseconds(200));
        // One good peer beside the hostile one is enough.
        await process.Host.StopAsync(Token);
        DirectoryProcess both = await ProcessOfAsync(hostile, static o => (o.Lease, o.RequestTimeout) = (Testing.TestTime.Seconds(60), Testing.TestTime.Seconds(2)), _bed.Urls[0]);
        await both.PublishAsync("a", 3);
        await both.HasAsync("a", 3);
    }

    [Fact]
    public async Task APeerCanSendNobodyElsewhere()
    {
        bool isReached = false;
        await using WebApplication elsewhere = await StartAsync(context =>
        {
            isReached = true;
            return context.Response.WriteAsync("""{"entries":[]}""");
        });
        string url = UrlOf(elsewhere);
        await using WebApplication hostile = await StartAsync(context =>
        {
            context.Response.Redirect(url);
            return Task.CompletedTask;
        });
        await ErrorOfAsync(hostile, "A peer answered 302");
        Assert.False(isReached);
    }

    [Fact]
    public async Task AReasonIsShortAndHasNoControlCharacters()
    {
        await using WebApplication hostile = await StartAsync(static context =>
        {
            context.Response.StatusCode = 500;
            context.Response.ContentType = "text/plain";
            return context.Response.WriteAsync("no\u001b[31m way\n");
        });
        await ErrorOfAsync(hostile, "A peer answered 500: no[31m way.");
        await using WebApplication empty = await StartAsync(static context =>
        {
            context.Response.StatusCode = 404;
            return Task.CompletedTask;
        });
        await ErrorOfAsync(empty, "Check that it calls MapRmaDirectory");
    }

    [Fact]
    public async Task APeerRefusesWhatIsNotValid()
    {
        using var http = new HttpClient { BaseAddress = new Uri(_bed.Urls[0] + "/rma-directory/") };
        var process = Guid.NewGuid();
        string entry = Encoding.UTF8.GetString(new DirectoryRecord(new RmaDirectoryEntry("a", process, new DnsEndPoint("x", 1)), 1).Encode());
        string path = $"a/{process:N}?lease=1000";
        await RefusesAsync(path, "junk", HttpStatusCode.BadRequest, "not the JSON of an entry");
        await RefusesAsync(path, "", HttpStatusCode.BadRequest, "not the JSON of an entry");
        await RefusesAsync(path, entry.Replace("\"x\"", "\"\\ud800\"", StringComparison.Ordinal), HttpStatusCode.BadRequest, "not valid Unicode");
        await RefusesAsync(path, entry.Replace("\"host\"", "\"\\ud800\"", StringComparison.Ordinal), HttpStatusCode.BadRequest, "not valid Unicode");
        await RefusesAsync(path, new string(' ', 16_385), HttpStatusCode.RequestEntityTooLarge, "MaxEntryBytes");
        await RefusesAsync($"a/{process:N}", entry, HttpStatusCode.BadRequest, "lease");
        await RefusesAsync($"a/{process:N}?lease=0", entry, HttpStatusCode.BadRequest, "lease");
        await RefusesAsync($"a/{process:N}?lease=3600001", entry, HttpStatusCode.BadRequest, "lease");
        await RefusesAsync($"b/{process:N}?lease=1000", entry, HttpStatusCode.BadRequest, "its name is not the one");
        await RefusesAsync($"a/{Guid.NewGuid():N}?lease=1000", entry, HttpStatusCode.BadRequest, "must be the one in the path");
        await RefusesAsync("a/12?lease=1000", entry, HttpStatusCode.BadRequest, "hexadecimal");
        await RefusesAsync($"a%20b/{process:N}?lease=1000", entry, HttpStatusCode.BadRequest, "letters and digits");
        Assert.Equal(HttpStatusCode.BadRequest, (await http.GetAsync(new string('a', 129), Token)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await http.DeleteAsync($"a/{process:N}", Token)).StatusCode);
        Assert.Equal("""{"entries":[]}""", await http.GetStringAsync("a", Token));
        using var right = new StringContent(entry);
        Assert.Equal(HttpStatusCode.NoContent, (await http.PutAsync(path, right, Token)).StatusCode);
        Assert.Contains(entry, await http.GetStringAsync("a", Token), StringComparison.Ordinal);

        async Task RefusesAsync(string to, string body, HttpStatusCode status, string reason)
        {
            using var content = new StringContent(body);
            using HttpResponseMessage response = await http.PutAsync(to, content, Token);
            Assert.Equal(status, response.StatusCode);
            Assert.Contains(reason, await response.Content.ReadAsStringAsync(Token), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task MetricsShowWhatIsPublishedAndHowLongRequestsTake()
    {
        using var seen = new SeenMetrics();
        DirectoryProcess process = await Bed.StartProcessAsync();
        seen.Of(process.Host.Services);
        await process.PublishAsync("a");
        await process.PortsAsync("a");
        await Bed.StopKeeperAsync();
        await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.PortsAsync("a"));
        Assert.Equal(1, seen.Publications());
        Assert.Contains("publish", seen.Operations);
        Assert.Contains("resolve", seen.Operations);
        Assert.Contains("resolve unreachable", seen.Operations);
    }

    [Fact]
    public async Task AListenerOfMetricsThatThrowsChangesNoResult()
    {
        using var seen = new SeenMetrics { Throws = true };
        DirectoryProcess process = await Bed.StartProcessAsync();
        seen.Of(process.Host.Services);
        await process.PublishAsync("a");
        Assert.Single(await process.PortsAsync("a"));
        Assert.Contains("resolve", seen.Operations);
        await Bed.StopKeeperAsync();
        await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.PortsAsync("a"));
    }

    [Fact]
    public async Task AHandlerThatThrowsStopsNothing()
    {
        int seen = 0;
        bool isBroken = false;
        DirectoryProcess process = await Bed.StartProcessAsync(services: services => services.AddHttpClient(HttpDirectoryStore.ClientName).AddHttpMessageHandler(() => new Handler((request, next) =>
        {
            if (!Volatile.Read(ref isBroken))
                return next(request);
            return (Interlocked.Increment(ref seen) % 3) switch
            {
                0 => throw new InvalidOperationException("a token that can't be had"),
                1 => throw new TaskCanceledException("of its own"),
                _ => Task.FromException<HttpResponseMessage>(new UriFormatException("no")),
            };
        })));
        RmaPublication publication = await process.PublishAsync("a", 1);
        await using var watch = new Watched(process.Directory, "a");
        await watch.IsAsync(1);
        Volatile.Write(ref isBroken, true);
        Assert.Contains("a handler of the HTTP client threw", await process.Log.SingleAsync(120), StringComparison.Ordinal);
        await process.Log.SingleAsync(123);
        await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.PortsAsync("a"));
        Assert.False(process.Host.Services.GetRequiredService<Microsoft.Extensions.Hosting.IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested);
        Volatile.Write(ref isBroken, false);
        await process.Log.SingleAsync(121);
        await process.Log.SingleAsync(124);
        Volatile.Write(ref isBroken, true);
        await publication.DisposeAsync();
        await process.Log.SingleAsync(122);
    }

    [Fact]
    public async Task DiscoveryThatHangsCostsNoMoreThanTheTimeOfARequest()
    {
        DirectoryProcess process = await Bed.StartProcessAsync(
            static o => o.RequestTimeout = TimeSpan.FromMilliseconds(200),
            services: static services => services.AddSingleton<IServiceEndpointProviderFactory, HangingDiscovery>());
        var error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.Directory.ResolveAsync("a", Token).AsTask().WaitAsync(Testing.TestTime.Seconds(20), Token));
        Assert.Contains("within 200 ms (RequestTimeout)", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"entries":[{},{},{}]}""", null, 1)]
    [InlineData("""{"entries":[]}""", null, 1)]
    [InlineData("""{"entries":[]}""", "\"x\"", 16)]
    [InlineData("""{"entries":[{"left":0,"entry":{"version":1,"name":"a","process":"00000000-0000-0000-0000-000000000002","revision":1,"host":"x","port":9,"exposures":{}}}]}""", null, 10)]
    public async Task AWatchThatHasNoNewsAsksNoMoreOften(string body, string? tag, int most)
    {
        int requests = 0;
        await using WebApplication hostile = await StartAsync(context =>
        {
            Interlocked.Increment(ref requests);
            context.Response.Headers.ETag = tag;
            return context.Response.WriteAsync(body);
        });
        DirectoryProcess process = await ProcessOfAsync(hostile, static o => (o.WatchInterval, o.MaxEntriesPerName) = (TimeSpan.FromMinutes(10), 2));
        await using var watch = new Watched(process.Directory, "a");
        // This is long enough for fifty reads if each follows the previous one at once.
        await Task.Delay(TimeSpan.FromSeconds(1.2), Token);
        Assert.InRange(Volatile.Read(ref requests), 1, most);
    }

    [Fact]
    public async Task APeerAnswersAWatchBeforeItsRequestIsBrokenOff()
    {
        int broken = 0;
        var third = new TaskCompletionSource();
        int polls = 0;
        await using WebApplication peer = await StartAsync(async context =>
        {
            context.Response.Headers.ETag = "\"x\"";
            if (context.Request.Query["wait"] is not [{ } wait])
            {
                await context.Response.WriteAsync("""{"entries":[]}""");
                return;
            }
            // The wait ends slightly later here than requested.
            await Task.Delay(int.Parse(wait, System.Globalization.CultureInfo.InvariantCulture) + 50);
            if (context.RequestAborted.IsCancellationRequested)
                Interlocked.Increment(ref broken);
            context.Response.StatusCode = 304;
            if (Interlocked.Increment(ref polls) == 3)
                third.SetResult();
        });
        DirectoryProcess process = await ProcessOfAsync(peer, static o => (o.Lease, o.RequestTimeout, o.WatchInterval) = (TimeSpan.FromMinutes(10), TimeSpan.FromMinutes(2), TimeSpan.FromMilliseconds(100)));
        await using var watch = new Watched(process.Directory, "a");
        await third.Task.WaitAsync(Testing.TestTime.Seconds(20), Token);
        Assert.Equal(0, Volatile.Read(ref broken));
    }

    [Fact]
    public async Task APeerSaysThatItHasANewerRevision()
    {
        using var http = new HttpClient { BaseAddress = new Uri(_bed.Urls[0] + "/rma-directory/") };
        DirectoryProcess process = await Bed.StartProcessAsync();
        await process.PublishAsync("a", 1);
        long newer = DateTime.UtcNow.AddHours(23).Ticks;
        Assert.Equal(HttpStatusCode.NoContent, await PutAsync(newer));
        Assert.Equal(HttpStatusCode.Conflict, await PutAsync(newer - 1));
        Assert.Equal(HttpStatusCode.Conflict, await PutAsync(newer - 2));
        Assert.Contains($"409: this peer has revision {newer}", await process.Log.SingleAsync(126), StringComparison.Ordinal);
        // Of everything that was refused, only one entry was logged.
        await _bed.Log.SingleAsync(128);

        async Task<HttpStatusCode> PutAsync(long revision)
        {
            using var content = new ByteArrayContent(new DirectoryRecord(process.Entry("a", 2), revision).Encode());
            return (await http.PutAsync($"a/{process.Number:N}?lease=60000", content, Token)).StatusCode;
        }
    }

    [Fact]
    public void WhatWasTakenOutTakesNoPlaceAndComesNotBack()
    {
        var options = new RmaDirectoryOptions { MaxEntriesPerName = 2, MaxEntries = 3, MaxBytes = 64 << 10 };
        var table = new DirectoryTable(Microsoft.Extensions.Options.Options.Create(options));
        TimeSpan hour = TimeSpan.FromHours(1);
        DirectoryRecord Record(string name, Guid process, long revision) => new(new RmaDirectoryEntry(name, process, new DnsEndPoint("x", 1)), revision);
        for (int i = 0; i < 20; i++)
        {
            DirectoryRecord passing = Record($"n{i % 5}", Guid.NewGuid(), 1);
            Assert.Null(table.Put(passing, passing.Encode(), hour));
            table.Remove(passing.Entry.Name, passing.Entry.Process, 1);
        }
        // A late renewal of an entry that was removed, and of one that did not exist at the time of the removal.
        DirectoryRecord late = Record("a", Guid.NewGuid(), 5);
        table.Remove("a", late.Entry.Process, 5);
        Assert.Equal(409, table.Put(late, late.Encode(), hour)?.Status);
        Assert.Null(table.Put(Record("a", late.Entry.Process, 6), late.Encode(), hour));
        Assert.Null(table.Put(Record("a", Guid.NewGuid(), 1), new byte[60 << 10], hour));
        // Live entries are counted, as are their bytes.
        Assert.Contains("MaxEntriesPerName", table.Put(Record("a", Guid.NewGuid(), 1), [1], hour)?.Reason, StringComparison.Ordinal);
        Assert.Contains("MaxBytes", table.Put(Record("b", Guid.NewGuid(), 1), new byte[10 << 10], hour)?.Reason, StringComparison.Ordinal);
        Assert.Null(table.Put(Record("b", Guid.NewGuid(), 1), [1], hour));
        Assert.Contains("MaxEntries ", table.Put(Record("c", Guid.NewGuid(), 1), [1], hour)?.Reason, StringComparison.Ordinal);
        Assert.Equal(2, table.Read("a").Entries.Count);
    }

    [Fact]
    public async Task AnswersOfAllPeersAreBoundedTogether()
    {
        await using WebApplication hostile = await StartAsync(static context => context.Response.WriteAsync("""{"entries":[]}""" + new string(' ', 40 << 10)));
        await ErrorOfAsync(hostile, "must be at most 32 KiB", o => (o.MaxBytes, o.MaxEntriesPerName) = (64 << 10, 256), UrlOf(hostile).Replace("127.0.0.1", "localhost", StringComparison.Ordinal));
    }

    [Fact]
    public async Task NamesOfPropertiesHaveNoControlCharactersInLogsAndAnswers()
    {
        await using WebApplication hostile = await StartAsync(static context => context.Response.WriteAsync("""{"entries":[{"left":1000,"entry":{"version":1,"x\u001b[31m\u202e\n":1}}]}"""));
        DirectoryProcess process = await ProcessOfAsync(hostile);
        Assert.Empty(await process.PortsAsync("a"));
        Assert.Contains("'x[31m'", await process.Log.SingleAsync(125), StringComparison.Ordinal);
    }

    private sealed class Handler(Func<HttpRequestMessage, Func<HttpRequestMessage, Task<HttpResponseMessage>>, Task<HttpResponseMessage>> run) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) => run(request, r => base.SendAsync(r, cancellationToken));
    }

    /// <summary>A service discovery that never answers.</summary>
    private sealed class HangingDiscovery : IServiceEndpointProviderFactory, IServiceEndpointProvider
    {
        public bool TryCreateProvider(ServiceEndpointQuery query, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out IServiceEndpointProvider? provider)
        {
            provider = this;
            return true;
        }

        public async ValueTask PopulateAsync(IServiceEndpointBuilder endpoints, CancellationToken cancellationToken) => await Task.Delay(Timeout.Infinite, cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private static async Task<WebApplication> StartAsync(RequestDelegate answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        WebApplication peer = builder.Build();
        peer.Run(answer);
        await peer.StartAsync(Token);
        return peer;
    }

    private static string UrlOf(WebApplication peer) => peer.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    /// <summary>Starts a process whose directory is kept by a hostile peer, and perhaps a good one.</summary>
    private Task<DirectoryProcess> ProcessOfAsync(WebApplication hostile, Action<RmaDirectoryOptions>? configure = null, string? good = null) =>
        ProcessOfAsync(UrlOf(hostile), configure, good);

    private Task<DirectoryProcess> ProcessOfAsync(string hostile, Action<RmaDirectoryOptions>? configure = null, string? good = null) => Bed.StartProcessAsync(
        options =>
        {
            options.Peers = "http://hostile";
            configure?.Invoke(options);
        },
        services: services => services.AddSingleton<IConfiguration>(
            new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
            {
                ["Services:hostile:http:0"] = hostile,
                ["Services:hostile:http:1"] = good,
            }.Where(static p => p.Value is not null)).Build()));

    private Task<DirectoryProcess> ErrorOfAsync(WebApplication hostile, string message, Action<RmaDirectoryOptions>? configure = null, string? good = null) =>
        ErrorOfAsync(UrlOf(hostile), message, configure, good);

    private async Task<DirectoryProcess> ErrorOfAsync(string hostile, string message, Action<RmaDirectoryOptions>? configure = null, string? good = null)
    {
        DirectoryProcess process = await ProcessOfAsync(hostile, configure, good);
        var error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.Directory.ResolveAsync("a", Token));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        return process;
    }
}
