using System.Net;
using System.Net.WebSockets;
using System.Runtime.CompilerServices;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests SignalR over each of its transports.</summary>
public sealed class SignalRTests
{
    public static TheoryData<string, HttpTransportType, bool> All
    {
        get
        {
            var all = new TheoryData<string, HttpTransportType, bool>();
            foreach (string fabric in FabricHost.Fabrics)
                foreach (HttpTransportType transport in (HttpTransportType[])[HttpTransportType.WebSockets, HttpTransportType.ServerSentEvents, HttpTransportType.LongPolling])
                    foreach (bool https in (bool[])[false, true])
                        all.Add(fabric, transport, https);
            return all;
        }
    }

    [Theory, MemberData(nameof(All))]
    public async Task AHubAnswersCallsBackAndStreams(string fabric, HttpTransportType transport, bool https)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        await using WebSide web = await WebSide.StartAsync(
            fabric,
            HttpProtocols.Http1AndHttp2,
            static app => app.MapHub<Chatter>("/hub"),
            static services => services.AddSignalR(),
            https);
        await using (HubConnection hub = new HubConnectionBuilder().WithUrl(new Uri(web.Url, "/hub"), transport, options =>
        {
            options.HttpMessageHandlerFactory = _ => WebSide.TrustIt(client.NewHandler());
            // SignalR passes its handler only to WebSockets over HTTP/2, which require HTTPS.
            if (https)
            {
                options.WebSocketConfiguration = static socket => socket.HttpVersion = HttpVersion.Version20;
                return;
            }
            options.WebSocketFactory = async (context, cancellationToken) =>
            {
                var socket = new ClientWebSocket();
                await socket.ConnectAsync(context.Uri, new HttpMessageInvoker(client.NewHandler()), cancellationToken);
                return socket;
            };
        }).Build())
        {
            var told = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            hub.On<string>("Told", told.SetResult);
            await hub.StartAsync(TestContext.Current.CancellationToken);
            // Only the fabric is listened on.
            Assert.True(client.Connections.Count > 0);
            Assert.Equal(transport != HttpTransportType.WebSockets ? null : https ? "HTTP/2" : "HTTP/1.1", await hub.InvokeAsync<string?>("SocketProtocol", TestContext.Current.CancellationToken));
            string text = new('x', 20_000);
            Assert.Equal(text, await hub.InvokeAsync<string>("Echo", text, TestContext.Current.CancellationToken));
            await hub.SendAsync("TellAll", "news", TestContext.Current.CancellationToken);
            Assert.Equal("news", await told.Task.WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken));
            Assert.Equal(Enumerable.Range(0, 100), await hub.StreamAsync<int>("Count", 100, TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken));
        }
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }

    private sealed class Chatter : Hub
    {
        public string? SocketProtocol() => Context.GetHttpContext() is { WebSockets.IsWebSocketRequest: true } context ? context.Request.Protocol : null;

        public string Echo(string text) => text;

        public Task TellAll(string text) => Clients.All.SendAsync("Told", text);

        public async IAsyncEnumerable<int> Count(int to, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            for (int i = 0; i < to; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                await Task.Yield();
                yield return i;
            }
        }
    }
}
