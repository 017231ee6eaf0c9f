using System.Diagnostics;
using System.Globalization;
using AllocTools.Frameworks.Tests.Grpc;
using AllocTools.Frameworks.Tests.Support;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests long gRPC streams: 10 GiB, each byte of which is checked.</summary>
public sealed class GrpcStreamTests
{
    private const int Length = 1 << 20;
    private const int Chunks = 10 << 10;

    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    /// <summary>The client is unchanged except for its handler, and the service except for UseRma.</summary>
    [Theory, MemberData(nameof(Fabrics))]
    public async Task TenGibibytesArriveInOrderAndWhole(string fabric)
    {
        await using WebSide web = await WebSide.StartAsync(fabric, HttpProtocols.Http2, static app => app.MapGrpcService<EchoService>(), static services =>
        {
            services.AddSingleton(new EchoService.Endings());
            services.AddGrpc(static o => o.MaxReceiveMessageSize = null);
        });
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        var clock = Stopwatch.StartNew();
        using (GrpcChannel channel = GrpcChannel.ForAddress(web.Url, new GrpcChannelOptions { HttpHandler = client.NewHandler(), DisposeHttpClient = true, MaxReceiveMessageSize = null }))
        {
            byte[] expected = EchoService.DataOf(Length);
            using AsyncServerStreamingCall<Chunk> call = new Echo.EchoClient(channel).Count(new Order { Chunks = Chunks, Length = Length }, cancellationToken: TestContext.Current.CancellationToken);
            int next = 0;
            await foreach (Chunk chunk in call.ResponseStream.ReadAllAsync(TestContext.Current.CancellationToken))
            {
                if (chunk.Number != next || !chunk.Data.Span.SequenceEqual(expected))
                    Assert.Fail($"Message {next} has number {chunk.Number} and {chunk.Data.Length} bytes, or others than were sent.");
                next++;
            }
            Assert.Equal(Chunks, next);
        }
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{fabric}: {Chunks >> 10} GiB in {clock.Elapsed.TotalSeconds:0.0} s"));
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }
}
