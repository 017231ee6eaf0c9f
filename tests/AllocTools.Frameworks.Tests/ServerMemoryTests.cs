using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Sockets;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Hosting;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests Kestrel over sockets with blocks of a pool: data that arrives in them is sent on by RMA from there.</summary>
public sealed class ServerMemoryTests
{
    private const int Large = 100 << 20;
    private const int Small = 4 << 20;

    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    /// <summary>Gets HTTP/1.1 with a length and in chunks, and HTTP/2; each with and without TLS.</summary>
    public static TheoryData<string, HttpProtocols, bool, bool> Protocols
    {
        get
        {
            var all = new TheoryData<string, HttpProtocols, bool, bool>();
            foreach (string fabric in FabricHost.Fabrics)
            {
                foreach (bool https in (bool[])[false, true])
                {
                    all.Add(fabric, HttpProtocols.Http1, false, https);
                    all.Add(fabric, HttpProtocols.Http1, true, https);
                    all.Add(fabric, HttpProtocols.Http2, false, https);
                }
            }
            return all;
        }
    }

    public static TheoryData<string> FabricsAndUcx => [.. FabricHost.Fabrics, FabricHost.Ucx];

    [Theory, MemberData(nameof(FabricsAndUcx))]
    public async Task AHundredMebibytesGoOnFromWhereKestrelHasReceivedThem(string fabric)
    {
        await using ClientSide far = await ClientSide.StartAsync(fabric, AllowReads);
        using ForwardedBody body = new(far, Large);
        await using WebSide web = await StartAsync(fabric, body.MapTo);
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        RmaPoolStatistics warm = pool.GetStatistics();
        Assert.Equal(0, warm.Rents);
        using (HttpClient http = NewClient(web, HttpProtocols.Http1))
            Assert.Equal($"{Large} {Large} 0", await PostAsync(http, HttpProtocols.Http1, body.NewContent()));
        body.AssertArrived();
        RmaOperationStatistics writes = web.Services.GetRequiredService<IRmaEndpoint>().GetStatistics().Operations[(int)RmaOperationKind.Write];
        Assert.Equal(Large, writes.Bytes);
        await BecomesIdleAsync(pool);
        RmaPoolStatistics after = pool.GetStatistics();
        // Only Kestrel's blocks were rented, and none of them had to be registered.
        Assert.Equal((warm.Registrations, 0, 0, 0), (after.Registrations, after.Misses, after.DeferredReturns, after.Rejections));
        Assert.InRange(after.Rents, Large / (16 << 10), long.MaxValue);
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task EachProtocolsBodyIsRegisteredMemory(string fabric, HttpProtocols protocol, bool isChunked, bool https)
    {
        await using ClientSide far = await ClientSide.StartAsync(fabric, AllowReads);
        using ForwardedBody body = new(far, Small);
        await using WebSide web = await StartAsync(fabric, body.MapTo, protocol, https);
        using (HttpClient http = NewClient(web, protocol))
        {
            for (int round = 0; round < 2; round++)
            {
                Assert.Equal($"{Small} {Small} 0", await PostAsync(http, protocol, body.NewContent(isChunked)));
                body.AssertArrived();
            }
        }
        await BecomesIdleAsync(web.Services.GetRequiredService<IRmaMemoryPool>());
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task AResponseIsReadIntoWhereItIsSentFrom(string fabric, HttpProtocols protocol, bool isChunked, bool https)
    {
        await using ClientSide far = await ClientSide.StartAsync(fabric, AllowReads);
        using ForwardedBody body = new(far, Small);
        body.Fill();
        await using WebSide web = await StartAsync(
            fabric,
            app =>
            {
                if (!isChunked)
                {
                    app.Use((context, next) =>
                    {
                        context.Response.ContentLength = Small;
                        return next(context);
                    });
                }
                body.MapBackTo(app);
            },
            protocol,
            https);
        using (HttpClient http = NewClient(web, protocol))
        {
            using HttpRequestMessage request = NewRequest(HttpMethod.Get, protocol);
            using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
            await body.AssertIsAsync(await response.EnsureSuccessStatusCode().Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        }
        await BecomesIdleAsync(web.Services.GetRequiredService<IRmaMemoryPool>());
    }

    [Fact]
    public async Task WhereThePoolHasNoRoomTheServerGoesOnWithPlainMemory()
    {
        var log = new EventLog();
        await using ClientSide far = await ClientSide.StartAsync(Fabric.Any, AllowReads);
        using ForwardedBody body = new(far, Small);
        await using WebSide web = await StartAsync(Fabric.Any, body.MapTo, configure: builder =>
        {
            builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:MaxRegisteredBytes"] = "5 MiB", ["AllocTools:SizeClasses:0:InitialBlocks"] = "64" });
            builder.Logging.AddProvider(log);
        });
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        Dictionary<string, long> metrics = [];
        var factory = web.Services.GetRequiredService<IMeterFactory>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope == factory && instrument.Name.StartsWith("rma.server_memory.", StringComparison.Ordinal))
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            Assert.Equal(["rma.pool.name", "rma.provider"], tags[..2].ToArray().Select(static t => t.Key));
            metrics[string.Join(' ', [instrument.Name, .. tags[2..].ToArray().Select(static t => t.Value)])] = value;
        });
        listener.Start();

        List<RmaBuffer> all = [];
        while (pool.TryRent(64 << 10, out RmaBuffer buffer))
            all.Add(buffer);
        while (pool.TryRent(16 << 10, out RmaBuffer buffer))
            all.Add(buffer);
        using HttpClient http = NewClient(web, HttpProtocols.Http1);
        string[] answer = (await PostAsync(http, HttpProtocols.Http1, body.NewContent())).Split(' ');
        Assert.Equal(($"{Small}", "0"), (answer[0], answer[1]));
        listener.RecordObservableInstruments();
        Assert.Equal(0, metrics["rma.server_memory.rented"]);
        Assert.InRange(metrics["rma.server_memory.unregistered exhausted"], Small, long.MaxValue);
        (int id, string message) = Assert.Single(log.Events, static e => e.Id == 90);
        Assert.Contains("because pool 'default' has no room below its cap.", message, StringComparison.Ordinal);

        foreach (RmaBuffer buffer in all)
            buffer.Dispose();
        using HttpClient next = NewClient(web, HttpProtocols.Http1);
        Assert.Equal($"{Small} {Small} 0", await PostAsync(next, HttpProtocols.Http1, body.NewContent()));
        body.AssertArrived();
        Assert.Single(log.Events, static e => e.Id == 90);
    }

    [Fact]
    public async Task TheMetricsAreThoseOfTheTableAndShowWhatConnectionsHold()
    {
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var mayEnd = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WebSide web = await StartAsync(Fabric.Any, app => app.MapPost("/", async context =>
        {
            System.IO.Pipelines.ReadResult read = await context.Request.BodyReader.ReadAtLeastAsync(1000, context.RequestAborted);
            context.Request.BodyReader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
            arrived.SetResult();
            await mayEnd.Task;
        }));
        Dictionary<string, (string Kind, string Unit)> instruments = [];
        long rented = -1;
        var factory = web.Services.GetRequiredService<IMeterFactory>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope != factory || !instrument.Name.StartsWith("rma.server_memory.", StringComparison.Ordinal))
                    return;
                instruments[instrument.Name] = (instrument is ObservableUpDownCounter<long> ? "up-down counter" : "counter", instrument.Unit!);
                listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, _, _) =>
        {
            if (instrument.Name == "rma.server_memory.rented")
                rented = value;
        });
        listener.Start();
        string table = (await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "telemetry.md"), TestContext.Current.CancellationToken)).Split("<!-- server memory metrics -->")[1].Split("<!-- /server memory metrics -->")[0];
        Assert.Equal(
            table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(2).Select(static line => line.Split('|', StringSplitOptions.TrimEntries)).Select(static cells => (cells[1].Trim('`'), cells[2], cells[3].Trim('`'))),
            instruments.Select(static i => (i.Key, i.Value.Kind, i.Value.Unit)));

        using HttpClient http = NewClient(web, HttpProtocols.Http1);
        Task<string> answer = PostAsync(http, HttpProtocols.Http1, new ByteArrayContent(new byte[1000]));
        await arrived.Task;
        listener.RecordObservableInstruments();
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        Assert.Equal(pool.GetStatistics().RentedBytes, rented);
        Assert.InRange(rented, 16 << 10, long.MaxValue);
        mayEnd.SetResult();
        await answer;
        http.Dispose();
        await BecomesIdleAsync(pool);
        // A returned block is counted by the thread that has returned it, which may not run at once.
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        do
        {
            listener.RecordObservableInstruments();
            Assert.False(limit.IsCancellationRequested, $"{rented} bytes are said to be rented");
        }
        while (rented != 0);
    }

    [Fact]
    public async Task WhatABurstHasTakenIsGivenBack()
    {
        await using ClientSide far = await ClientSide.StartAsync(Fabric.Any, AllowReads);
        using ForwardedBody body = new(far, Small);
        await using WebSide web = await StartAsync(Fabric.Any, body.MapTo, configure: static builder => builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["AllocTools:SizeClasses:0:InitialBlocks"] = "0",
            ["AllocTools:SizeClasses:1:InitialBlocks"] = "0",
            ["AllocTools:IdleRetention"] = "0 s",
            ["AllocTools:TrimInterval"] = "10 ms",
        }));
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes);
        using (HttpClient http = NewClient(web, HttpProtocols.Http1))
            Assert.Equal($"{Small} {Small} 0", await PostAsync(http, HttpProtocols.Http1, body.NewContent()));
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while (pool.GetStatistics() is { RegisteredBytes: not 0 } now)
        {
            Assert.False(limit.IsCancellationRequested, $"{now}");
            await Task.Delay(20, CancellationToken.None);
        }
        Assert.InRange(pool.GetStatistics().Trims, 1, long.MaxValue);
        using HttpClient next = NewClient(web, HttpProtocols.Http1);
        Assert.Equal($"{Small} {Small} 0", await PostAsync(next, HttpProtocols.Http1, body.NewContent()));
        body.AssertArrived();
    }

    [Fact]
    public async Task APoolOfItsOwnSharesTheProvider()
    {
        await using ClientSide far = await ClientSide.StartAsync(Fabric.Any, AllowReads);
        using ForwardedBody body = new(far, Small);
        await using WebSide web = await WebSide.StartAsync(
            Fabric.Any,
            static builder =>
            {
                builder.Services.AddRmaMemoryPool<LibfabricProvider>("bodies", static o => o.MaxRegisteredBytes = 16 << 20).ShareProviderOf(RmaMemoryPoolName.Default);
                // The last call counts.
                builder.WebHost.UseRmaMemory().UseRmaMemory("bodies", maxBlockSize: 4 << 10);
                builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
            },
            body.MapTo);
        var bodies = web.Services.GetRequiredKeyedService<IRmaMemoryPool>("bodies");
        using HttpClient http = NewClient(web, HttpProtocols.Http1);
        Assert.Equal($"{Small} {Small} 0", await PostAsync(http, HttpProtocols.Http1, body.NewContent()));
        body.AssertArrived();
        // Blocks of 4 KiB belong to the class of 16 KiB, the next larger one; no others are used.
        Assert.Equal([16L << 10], bodies.GetStatistics().SizeClasses.Where(static c => c.Hits + c.Misses != 0).Select(static c => c.BlockSize));
        Assert.Equal(0, web.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics().Rents);
    }

    [Fact]
    public async Task AStopUnderARequestBringsEachBlockBack()
    {
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        WebSide web = await StartAsync(
            Fabric.Any,
            app => app.MapPost("/", async context =>
            {
                System.IO.Pipelines.ReadResult read = await context.Request.BodyReader.ReadAtLeastAsync(1000, context.RequestAborted);
                context.Request.BodyReader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
                arrived.SetResult();
                await context.Request.BodyReader.ReadAsync(context.RequestAborted);
            }),
            configure: static builder => builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(static o => o.ShutdownTimeout = TimeSpan.FromMilliseconds(100)));
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        using (var socket = new TcpClient())
        {
            await socket.ConnectAsync(IPAddress.Loopback, web.Url.Port, TestContext.Current.CancellationToken);
            await socket.GetStream().WriteAsync("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"u8.ToArray().Concat(new byte[2000]).ToArray(), TestContext.Current.CancellationToken);
            await arrived.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
            Assert.NotEqual(0, pool.GetStatistics().RentedBuffers);
            await web.DisposeAsync();
        }
        await BecomesIdleAsync(pool);
    }

    [Fact]
    public async Task PagesThatArraysDoNotHaveAreRefusedAtTheStart()
    {
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => StartAsync(Fabric.Any, static _ => { }, configure: static builder => builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["AllocTools:HugePages"] = "Explicit",
            ["AllocTools:NumaNode"] = "0",
        })));
        foreach (string option in (string[])["HugePages is Explicit; it must be Off or Transparent", "NumaNode is 0; it must not be set"])
            Assert.Single(error.Failures, f => f.StartsWith($"AllocTools:{option}, because UseRmaMemory gives the pool's memory to the server as arrays", StringComparison.Ordinal));
    }

    [Fact]
    public void WhatCannotBeIsRefusedWhereItIsAsked()
    {
        WebApplicationBuilder builder = WebApplication.CreateBuilder();
        Assert.Contains("There is no pool 'bodies' yet.", Assert.Throws<InvalidOperationException>(() => builder.WebHost.UseRmaMemory("bodies")).Message, StringComparison.Ordinal);
        builder.Services.AddRmaMemoryPool<HostProvider>();
        Assert.Equal("maxBlockSize", Assert.Throws<ArgumentOutOfRangeException>(() => builder.WebHost.UseRmaMemory(maxBlockSize: 4095)).ParamName);
        Assert.Equal("maxBlockSize", Assert.Throws<ArgumentOutOfRangeException>(() => builder.WebHost.UseRmaMemory(maxBlockSize: (1 << 30) + 1)).ParamName);
        Assert.Throws<ArgumentException>(() => builder.WebHost.UseRmaMemory(""));
        Assert.Throws<ArgumentNullException>(() => RmaKestrelExtensions.UseRmaMemory(null!));
    }

    [Fact]
    public async Task ThePoolsOfTheFactoryKeepTheRulesOfMemoryPool()
    {
        await using WebSide web = await StartAsync(Fabric.Any, static _ => { });
        var pool = web.Services.GetRequiredService<IRmaMemoryPool>();
        var factory = web.Services.GetRequiredService<IMemoryPoolFactory<byte>>();
        System.Buffers.MemoryPool<byte> memory = factory.Create(new MemoryPoolOptions { Owner = "test" });
        Assert.Equal(64 << 10, memory.MaxBufferSize);
        foreach ((int size, int least) in new[] { (-1, 4096), (0, 1), (1, 1), (16 << 10, 16 << 10), (64 << 10, 64 << 10) })
        {
            using System.Buffers.IMemoryOwner<byte> owner = memory.Rent(size);
            Assert.InRange(owner.Memory.Length, least, 64 << 10);
            Assert.True(RmaSlice.TryGet(owner.Memory, out _));
        }
        Assert.Equal("minBufferSize", Assert.Throws<ArgumentOutOfRangeException>(() => memory.Rent(-2)).ParamName);
        Assert.Equal("minBufferSize", Assert.Throws<ArgumentOutOfRangeException>(() => memory.Rent((64 << 10) + 1)).ParamName);
        System.Buffers.IMemoryOwner<byte> late = memory.Rent(10);
        memory.Dispose();
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Rent(10));
        late.Memory.Span.Fill(1);
        late.Dispose();
        late.Dispose();
        Assert.Equal(0, pool.GetStatistics().RentedBuffers);

        // A closed pool leaves the server the memory that it needs to end in order.
        using System.Buffers.MemoryPool<byte> other = factory.Create();
        await pool.DisposeAsync();
        using System.Buffers.IMemoryOwner<byte> plain = other.Rent(10);
        Assert.False(RmaSlice.TryGet(plain.Memory, out _));
        Assert.InRange(plain.Memory.Length, 10, int.MaxValue);
    }

    /// <summary>Starts a server over sockets, with all the memory that it needs registered at the start.</summary>
    private static Task<WebSide> StartAsync(
        string fabric, Action<WebApplication> map, HttpProtocols protocols = HttpProtocols.Http1, bool https = false, Action<WebApplicationBuilder>? configure = null) => WebSide.StartAsync(
        fabric,
        builder =>
        {
            builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
            {
                ["AllocTools:SizeClasses:0:BlockSize"] = "16 KiB",
                // This covers the memory in the pipe, and what threads keep of it.
                ["AllocTools:SizeClasses:0:InitialBlocks"] = "1024",
                ["AllocTools:SizeClasses:1:BlockSize"] = "64 KiB",
                ["AllocTools:SizeClasses:1:InitialBlocks"] = "8",
            });
            builder.WebHost.UseRmaMemory();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                listen.Protocols = protocols;
                if (https)
                    listen.UseHttps(WebSide.Certificate);
            }));
            configure?.Invoke(builder);
        },
        map);

    private static void AllowReads(IServiceCollection services) => services.PostConfigure<RmaMemoryPoolOptions>(static o => o.Access |= RmaAccess.RemoteRead | RmaAccess.RemoteWrite);

    private static HttpClient NewClient(WebSide web, HttpProtocols protocol) => new(WebSide.TrustIt(new SocketsHttpHandler { UseProxy = false }))
    {
        BaseAddress = web.Url,
        Timeout = TestTime.Seconds(100),
        DefaultRequestVersion = protocol == HttpProtocols.Http2 ? HttpVersion.Version20 : HttpVersion.Version11,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    private static HttpRequestMessage NewRequest(HttpMethod method, HttpProtocols protocol) => new(method, "/")
    {
        Version = protocol == HttpProtocols.Http2 ? HttpVersion.Version20 : HttpVersion.Version11,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    private static async Task<string> PostAsync(HttpClient http, HttpProtocols protocol, HttpContent content)
    {
        using HttpRequestMessage request = NewRequest(HttpMethod.Post, protocol);
        request.Content = content;
        using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        return await response.EnsureSuccessStatusCode().Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Waits until connections have given back all their memory.</summary>
    private static async Task BecomesIdleAsync(IRmaMemoryPool pool)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while (pool.GetStatistics() is { RentedBuffers: not 0 } or { QuarantinedBuffers: not 0 })
        {
            Assert.False(limit.IsCancellationRequested, $"{pool.GetStatistics()}");
            await Task.Delay(20, CancellationToken.None);
        }
    }

    /// <summary>Keeps the log.</summary>
    private sealed class EventLog : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<(int Id, string Message)> Events { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Events.Enqueue((eventId.Id, formatter(state, exception)));

        public void Dispose()
        {
        }
    }
}
