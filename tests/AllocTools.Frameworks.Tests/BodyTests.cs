using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests bodies of all shapes, and each way in which they end early.</summary>
public sealed class BodyTests
{
    private const long LargeBody = 128 << 20;

    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    public static TheoryData<string, HttpProtocols> Protocols
    {
        get
        {
            var all = new TheoryData<string, HttpProtocols>();
            foreach (string fabric in FabricHost.Fabrics)
            {
                all.Add(fabric, HttpProtocols.Http1);
                all.Add(fabric, HttpProtocols.Http2);
            }
            return all;
        }
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task ALargeBodyArrivesWholeInEachDirection(string fabric, HttpProtocols protocol)
    {
        byte[] pattern = RandomNumberGenerator.GetBytes(1 << 20);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app =>
        {
            app.MapPost("/", async context => await context.Response.WriteAsync($"{await CompareAsync(context.Request.Body, pattern)}"));
            app.MapGet("/", async context =>
            {
                context.Response.ContentLength = LargeBody;
                for (long sent = 0; sent < LargeBody; sent += pattern.Length)
                    await context.Response.BodyWriter.WriteAsync(pattern, context.RequestAborted);
            });
        });
        using HttpRequestMessage upload = sides.NewRequest(HttpMethod.Post, new PatternContent(pattern, LargeBody));
        using HttpResponseMessage answer = await sides.Http.SendAsync(upload, TestContext.Current.CancellationToken);
        Assert.Equal($"{LargeBody}", await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        using HttpRequestMessage download = sides.NewRequest(HttpMethod.Get);
        using HttpResponseMessage response = await sides.Http.SendAsync(download, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(LargeBody, await CompareAsync(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken), pattern));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task BothDirectionsRunAtOnce(string fabric)
    {
        // Only over HTTP/2 does HttpClient read the response while it sends the request.
        await using Sides sides = await Sides.StartAsync(fabric, HttpProtocols.Http2, static app => app.MapPost("/", static context => context.Request.BodyReader.CopyToAsync(context.Response.BodyWriter, context.RequestAborted)));
        byte[] pattern = RandomNumberGenerator.GetBytes(1 << 20);
        using HttpRequestMessage request = sides.NewRequest(HttpMethod.Post, new PatternContent(pattern, LargeBody / 4));
        using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(LargeBody / 4, await CompareAsync(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken), pattern));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task SingleBytesArriveInOrder(string fabric, HttpProtocols protocol)
    {
        await using Sides sides = await Sides.StartAsync(fabric, protocol, static app => app.MapPost("/", static async context =>
        {
            byte[] one = new byte[1];
            while (await context.Request.Body.ReadAsync(one, context.RequestAborted) > 0)
            {
                await context.Response.Body.WriteAsync(one, context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
            }
        }));
        byte[] sent = RandomNumberGenerator.GetBytes(5_000);
        using HttpRequestMessage request = sides.NewRequest(HttpMethod.Post, new SingleBytesContent(sent));
        using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(sent, await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task ASlowReaderHoldsTheServerUp(string fabric, HttpProtocols protocol)
    {
        const int Total = 32 << 20;
        long written = 0;
        var pattern = RandomNumberGenerator.GetBytes(64 << 10);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapGet("/", async context =>
        {
            for (; written < Total; Interlocked.Add(ref written, pattern.Length))
                await context.Response.BodyWriter.WriteAsync(pattern, context.RequestAborted);
        }));
        using HttpRequestMessage request = sides.NewRequest(HttpMethod.Get);
        using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        await using Stream body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
        byte[] buffer = new byte[pattern.Length];
        for (int received = 0; received < Total; received += buffer.Length)
        {
            await body.ReadExactlyAsync(buffer, TestContext.Current.CancellationToken);
            Assert.Equal(pattern, buffer);
            // The amount between the two is bounded by the rings, and the windows and buffers above them.
            Assert.True(Interlocked.Read(ref written) - received < 8 << 20, $"The server has written {written} bytes, the client has read {received}.");
        }
        Assert.Equal(0, await body.ReadAsync(buffer, TestContext.Current.CancellationToken));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task AClientThatGivesUpWhileItReadsEndsTheRequest(string fabric, HttpProtocols protocol)
    {
        var aborted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapGet("/", async context =>
        {
            await using CancellationTokenRegistration registration = context.RequestAborted.Register(aborted.SetResult);
            byte[] part = new byte[10_000];
            while (!context.RequestAborted.IsCancellationRequested && !(await context.Response.BodyWriter.WriteAsync(part)).IsCompleted)
                continue;
            // Writes that are discarded would keep a processor busy.
            await aborted.Task;
        }));
        using (var cancelled = new CancellationTokenSource())
        {
            using HttpRequestMessage request = sides.NewRequest(HttpMethod.Get);
            using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancelled.Token);
            await using Stream body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
            await body.ReadExactlyAsync(new byte[1_000_000], TestContext.Current.CancellationToken);
        }
        await aborted.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task AClientThatGivesUpWhileItWaitsEndsTheRequest(string fabric, HttpProtocols protocol)
    {
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var aborted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapGet("/", async context =>
        {
            await using CancellationTokenRegistration registration = context.RequestAborted.Register(aborted.SetResult);
            arrived.SetResult();
            await aborted.Task;
        }));
        using var cancelled = new CancellationTokenSource();
        using HttpRequestMessage request = sides.NewRequest(HttpMethod.Get);
        Task<HttpResponseMessage> response = sides.Http.SendAsync(request, cancelled.Token);
        await arrived.Task;
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => response);
        await aborted.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task AClientThatGivesUpWhileItWritesEndsTheRequest(string fabric, HttpProtocols protocol)
    {
        var failed = new TaskCompletionSource<Exception>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapPost("/", async context =>
        {
            try
            {
                await context.Request.Body.CopyToAsync(Stream.Null);
                failed.SetException(new InvalidOperationException("The body has ended in order."));
            }
            catch (Exception e)
            {
                failed.SetResult(e);
            }
        }));
        using var cancelled = new CancellationTokenSource();
        using HttpRequestMessage request = sides.NewRequest(HttpMethod.Post, new PatternContent(new byte[100_000], long.MaxValue, after: 10_000_000, cancelled.Cancel));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sides.Http.SendAsync(request, cancelled.Token));
        Exception error = await failed.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        Assert.True(error is IOException, error.ToString());
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AClientThatGivesUpBeforeTheConnectionStandsLeavesNothing(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric, HttpProtocols.Http1, static app => app.MapGet("/", static () => "hello"));
        for (int i = 0; i < 30; i++)
        {
            // Each request is cancelled at another point of the set-up.
            using var cancelled = new CancellationTokenSource();
            using HttpRequestMessage request = sides.NewRequest(HttpMethod.Get);
            Task<HttpResponseMessage> response = sides.Http.SendAsync(request, cancelled.Token);
            for (int spin = 0; spin < i * i && !response.IsCompleted; spin++)
                Thread.SpinWait(2_000);
            await cancelled.CancelAsync();
            await response.ContinueWith(static t => t.IsCompletedSuccessfully ? t.Result.StatusCode : default, TestContext.Current.CancellationToken, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
        Assert.Equal("hello", await sides.Http.GetStringAsync("/", TestContext.Current.CancellationToken));
        await sides.EndCleanlyAsync();
    }

    /// <summary>
    /// Kestrel drops what is written then. A serializer that got no room for it would ask for room again and again.
    /// </summary>
    [Theory, MemberData(nameof(Protocols))]
    public async Task AResponseWhoseClientHasGoneStillHasRoomForWhatIsWritten(string fabric, HttpProtocols protocol)
    {
        var room = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapGet("/", async context =>
        {
            await context.Response.BodyWriter.WriteAsync(new byte[1000]);
            await Task.Delay(Timeout.InfiniteTimeSpan, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            room.SetResult(context.Response.BodyWriter.GetMemory().Length);
        }));
        using (HttpRequestMessage request = sides.NewRequest(HttpMethod.Get))
        {
            using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
            await using Stream body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
            await body.ReadExactlyAsync(new byte[1000], TestContext.Current.CancellationToken);
        }
        Assert.InRange(await room.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken), 1, int.MaxValue);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task AServerThatAbortsFailsTheResponse(string fabric, HttpProtocols protocol)
    {
        var mayAbort = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using Sides sides = await Sides.StartAsync(fabric, protocol, app => app.MapGet("/", async context =>
        {
            await context.Response.BodyWriter.WriteAsync(new byte[50_000]);
            await mayAbort.Task;
            context.Abort();
        }));
        using (HttpRequestMessage request = sides.NewRequest(HttpMethod.Get))
        {
            using HttpResponseMessage response = await sides.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
            await using Stream body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
            await body.ReadExactlyAsync(new byte[50_000], TestContext.Current.CancellationToken);
            mayAbort.SetResult();
            await Assert.ThrowsAnyAsync<IOException>(() => body.ReadExactlyAsync(new byte[1], TestContext.Current.CancellationToken).AsTask());
        }
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AServerOfConnectionsAnswersAfterItsPeerHasEndedItsDirection(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        await using WebSide web = await WebSide.StartAsync(
            fabric,
            static builder =>
            {
                builder.WebHost.UseRma();
                builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), static listen => listen.Run(static async connection =>
                {
                    long length = 0;
                    while (true)
                    {
                        ReadResult read = await connection.Transport.Input.ReadAsync();
                        length += read.Buffer.Length;
                        connection.Transport.Input.AdvanceTo(read.Buffer.End);
                        if (read.IsCompleted)
                            break;
                    }
                    await connection.Transport.Output.WriteAsync(BitConverter.GetBytes(length));
                })));
            },
            static _ => { });
        for (int i = 0; i < 20; i++)
        {
            await using RmaConnection connection = await client.Connections.ConnectAsync(new DnsEndPoint("127.0.0.1", web.Url.Port), TestContext.Current.CancellationToken);
            await connection.Output.WriteAsync(new byte[i * 10_000], TestContext.Current.CancellationToken);
            await connection.Output.CompleteAsync();
            ReadResult answer = await connection.Input.ReadAtLeastAsync(sizeof(long), TestContext.Current.CancellationToken);
            Assert.Equal(i * 10_000, BitConverter.ToInt64(answer.Buffer.ToArray()));
            connection.Input.AdvanceTo(answer.Buffer.End);
            Assert.True((await connection.Input.ReadAsync(TestContext.Current.CancellationToken)).IsCompleted);
        }
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ManyConnectionsAreOpenAtOnce(string fabric)
    {
        const int Count = 100;
        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        int arrived = 0;
        await using Sides sides = await Sides.StartAsync(fabric, HttpProtocols.Http1, app => app.MapGet("/{number}", async (int number) =>
        {
            // Each request holds its connection until all have arrived.
            if (Interlocked.Increment(ref arrived) == Count)
                all.SetResult();
            await all.Task;
            return number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }));
        for (int round = 0; round < 2; round++)
        {
            string[] answers = await Task.WhenAll(Enumerable.Range(0, Count).Select(i => sides.Http.GetStringAsync($"/{i}", TestContext.Current.CancellationToken)));
            Assert.All(answers, static (answer, i) => Assert.Equal($"{i}", answer));
            Assert.Equal(Count, sides.Client.Connections.Count);
        }
        await sides.EndCleanlyAsync();
    }

    /// <returns>The length of the stream, which repeats the pattern.</returns>
    private static async Task<long> CompareAsync(Stream stream, byte[] pattern)
    {
        byte[] buffer = new byte[pattern.Length];
        long received = 0;
        for (int length; (length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, TestContext.Current.CancellationToken)) > 0; received += length)
        {
            if (!buffer.AsSpan(0, length).SequenceEqual(pattern.AsSpan(0, length)))
                throw new InvalidDataException($"Other bytes came after {received}.");
        }
        return received;
    }

    /// <summary>Both sides, with a client that uses one of the protocols.</summary>
    private sealed class Sides : IAsyncDisposable
    {
        private readonly WebSide _web;
        private readonly Version _version;

        private Sides(WebSide web, ClientSide client, Version version)
        {
            (_web, Client, _version) = (web, client, version);
            Http = new HttpClient(client.NewHandler()) { BaseAddress = web.Url, Timeout = TestTime.Seconds(100) };
        }

        public ClientSide Client { get; }

        public HttpClient Http { get; }

        public static async Task<Sides> StartAsync(string fabric, HttpProtocols protocol, Action<WebApplication> map) => new(
            await WebSide.StartAsync(fabric, protocol, map),
            await ClientSide.StartAsync(fabric),
            protocol == HttpProtocols.Http2 ? HttpVersion.Version20 : HttpVersion.Version11);

        public HttpRequestMessage NewRequest(HttpMethod method, HttpContent? content = null) => new(method, "/")
        {
            Version = _version,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };

        /// <summary>Ends the client, and checks that nothing is left.</summary>
        public async Task EndCleanlyAsync()
        {
            Http.Dispose();
            await Client.Services.BecomesCleanAsync();
            await _web.Services.BecomesCleanAsync();
        }

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            await Client.DisposeAsync();
            await _web.DisposeAsync();
        }
    }

    /// <summary>Content that repeats a pattern, and makes a call on the way.</summary>
    private sealed class PatternContent(byte[] pattern, long total, long after = long.MaxValue, Action? then = null) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            for (long sent = 0; sent < total; sent += pattern.Length)
            {
                await stream.WriteAsync(pattern.AsMemory(0, (int)Math.Min(pattern.Length, total - sent)), cancellationToken);
                if (sent >= after)
                    then!();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = total;
            return total != long.MaxValue;
        }
    }

    /// <summary>Content that is written one byte at a time.</summary>
    private sealed class SingleBytesContent(byte[] bytes) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            for (int i = 0; i < bytes.Length; i++)
            {
                await stream.WriteAsync(bytes.AsMemory(i, 1));
                await stream.FlushAsync();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
