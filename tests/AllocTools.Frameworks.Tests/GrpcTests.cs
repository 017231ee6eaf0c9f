using System.Security.Cryptography;
using AllocTools.Frameworks.Tests.Grpc;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Testing;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests gRPC: a service and its client, which know nothing of what carries them.</summary>
public sealed class GrpcTests
{
    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task CallsAreAnswered(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        for (int i = 0; i < 100; i++)
            Assert.Equal(i, (await sides.SayAsync(new Chunk { Number = i })).Number);
        // Many calls at once, over one connection.
        Chunk[] answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => sides.SayAsync(new Chunk { Number = i, Data = ByteString.CopyFrom(new byte[i * 10]) })));
        Assert.All(answers, static (chunk, i) => Assert.Equal((i, i * 10), (chunk.Number, chunk.Data.Length)));
        // This is longer than any ring.
        byte[] big = RandomNumberGenerator.GetBytes(3_000_000);
        Chunk echo = await sides.SayAsync(new Chunk { Data = UnsafeByteOperations.UnsafeWrap(big) });
        Assert.True(echo.Data.Span.SequenceEqual(big));
        var error = await Assert.ThrowsAsync<RpcException>(() => sides.SayAsync(new Chunk { Number = -1 }));
        Assert.Equal((StatusCode.OutOfRange, "below zero"), (error.StatusCode, error.Status.Detail));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AClientStreams(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using AsyncClientStreamingCall<Chunk, Sum> call = sides.Client.Collect(cancellationToken: TestContext.Current.CancellationToken);
        long bytes = 0;
        for (int i = 0; i < 500; i++)
        {
            byte[] data = RandomNumberGenerator.GetBytes(i * 137 % 200_000);
            hash.AppendData(data);
            bytes += data.Length;
            await call.RequestStream.WriteAsync(new Chunk { Number = i, Data = UnsafeByteOperations.UnsafeWrap(data) }, TestContext.Current.CancellationToken);
        }
        await call.RequestStream.CompleteAsync();
        Sum sum = await call;
        Assert.Equal((500, bytes), (sum.Chunks, sum.Bytes));
        Assert.True(sum.Hash.Span.SequenceEqual(hash.GetHashAndReset()));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AServerStreams(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        using AsyncServerStreamingCall<Chunk> call = sides.Client.Count(new Order { Chunks = 500, Length = 65_536 }, cancellationToken: TestContext.Current.CancellationToken);
        int next = 0;
        await foreach (Chunk chunk in call.ResponseStream.ReadAllAsync(TestContext.Current.CancellationToken))
            Assert.Equal((next++, 65_536), (chunk.Number, chunk.Data.Length));
        Assert.Equal(500, next);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task BothStreamAtOnce(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            using AsyncDuplexStreamingCall<Chunk, Chunk> call = sides.Client.Chat(cancellationToken: TestContext.Current.CancellationToken);
            Task writing = Task.Run(async () =>
            {
                for (int i = 0; i < 200; i++)
                    await call.RequestStream.WriteAsync(new Chunk { Number = i, Data = ByteString.CopyFrom(new byte[i * 100]) });
                await call.RequestStream.CompleteAsync();
            });
            int next = 0;
            await foreach (Chunk chunk in call.ResponseStream.ReadAllAsync(TestContext.Current.CancellationToken))
                Assert.Equal((next, next++ * 100), (chunk.Number, chunk.Data.Length));
            Assert.Equal(200, next);
            await writing;
        }));
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACallThatIsCancelledEndsAtTheServer(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        using var cancelled = new CancellationTokenSource();
        using AsyncServerStreamingCall<Chunk> call = sides.Client.Hang(new Chunk { Number = 7 }, cancellationToken: cancelled.Token);
        Assert.True(await call.ResponseStream.MoveNext(TestContext.Current.CancellationToken));
        await cancelled.CancelAsync();
        var error = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Equal(StatusCode.Cancelled, error.StatusCode);
        await sides.Endings.Cancelled.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        // The connection can still be used.
        Assert.Equal(1, (await sides.SayAsync(new Chunk { Number = 1 })).Number);
        Assert.Equal(1, sides.ClientSide.Connections.Count);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ADeadlineEndsACall(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        using AsyncServerStreamingCall<Chunk> call = sides.Client.Hang(new Chunk(), deadline: DateTime.UtcNow + TestTime.Seconds(1), cancellationToken: TestContext.Current.CancellationToken);
        var error = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(CancellationToken.None))
            {
            }
        });
        Assert.Equal(StatusCode.DeadlineExceeded, error.StatusCode);
        await sides.Endings.Cancelled.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        await sides.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AServerThatIsGoneIsUnavailable(string fabric)
    {
        await using Sides sides = await Sides.StartAsync(fabric);
        Assert.Equal(1, (await sides.SayAsync(new Chunk { Number = 1 })).Number);
        await sides.Web.StopAsync();
        var error = await Assert.ThrowsAsync<RpcException>(() => sides.SayAsync(new Chunk()));
        Assert.Equal(StatusCode.Unavailable, error.StatusCode);
        sides.Channel.Dispose();
        await sides.ClientSide.Services.BecomesCleanAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AClientOfTheFactoryNeedsOneLine(string fabric)
    {
        await using WebSide web = await StartServerAsync(fabric, new EchoService.Endings());
        await using ClientSide client = await ClientSide.StartAsync(fabric, services => services.AddGrpcClient<Echo.EchoClient>(o => o.Address = web.Url).UseRma());
        Assert.Equal(3, (await client.Services.GetRequiredService<Echo.EchoClient>().SayAsync(new Chunk { Number = 3 }, cancellationToken: TestContext.Current.CancellationToken)).Number);
        Assert.Equal(1, client.Connections.Count);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task CallsGoOverHttpsToo(string fabric)
    {
        await using WebSide web = await StartServerAsync(fabric, new EchoService.Endings(), https: true);
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        using GrpcChannel channel = GrpcChannel.ForAddress(web.Url, new GrpcChannelOptions { HttpHandler = WebSide.TrustIt(client.NewHandler()), DisposeHttpClient = true });
        byte[] data = RandomNumberGenerator.GetBytes(1_000_000);
        Chunk echo = await new Echo.EchoClient(channel).SayAsync(new Chunk { Data = UnsafeByteOperations.UnsafeWrap(data) }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(echo.Data.Span.SequenceEqual(data));
    }

    private static Task<WebSide> StartServerAsync(string fabric, EchoService.Endings endings, bool https = false) => WebSide.StartAsync(
        fabric,
        HttpProtocols.Http2,
        static app => app.MapGrpcService<EchoService>(),
        services =>
        {
            services.AddSingleton(endings);
            services.AddGrpc(static o => o.MaxReceiveMessageSize = null);
        },
        https);

    private sealed class Sides : IAsyncDisposable
    {
        private Sides(WebSide web, ClientSide clientSide, EchoService.Endings endings)
        {
            (Web, ClientSide, Endings) = (web, clientSide, endings);
            Channel = GrpcChannel.ForAddress(web.Url, new GrpcChannelOptions { HttpHandler = clientSide.NewHandler(), DisposeHttpClient = true, MaxReceiveMessageSize = null });
            Client = new Echo.EchoClient(Channel);
        }

        public WebSide Web { get; }

        public ClientSide ClientSide { get; }

        public EchoService.Endings Endings { get; }

        public GrpcChannel Channel { get; }

        public Echo.EchoClient Client { get; }

        public static async Task<Sides> StartAsync(string fabric)
        {
            var endings = new EchoService.Endings();
            return new Sides(await StartServerAsync(fabric, endings), await ClientSide.StartAsync(fabric), endings);
        }

        public Task<Chunk> SayAsync(Chunk chunk) => Client.SayAsync(chunk, cancellationToken: TestContext.Current.CancellationToken).ResponseAsync;

        /// <summary>Ends the channel, and checks that nothing is left.</summary>
        public async Task EndCleanlyAsync()
        {
            Channel.Dispose();
            await ClientSide.Services.BecomesCleanAsync();
            await Web.Services.BecomesCleanAsync();
        }

        public async ValueTask DisposeAsync()
        {
            Channel.Dispose();
            await ClientSide.DisposeAsync();
            await Web.DisposeAsync();
        }
    }
}
