using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Hosting;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests Kestrel and HttpClient: which transport carries which requests, and how they begin and end.</summary>
public sealed class KestrelTests
{
    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    public static TheoryData<string, string, bool> Protocols
    {
        get
        {
            var all = new TheoryData<string, string, bool>();
            foreach (string fabric in FabricHost.Fabrics)
                foreach (string version in (string[])["1.1", "2.0"])
                    foreach (bool https in (bool[])[false, true])
                        all.Add(fabric, version, https);
            return all;
        }
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task ARequestIsAnsweredInEachProtocol(string fabric, string version, bool https)
    {
        var httpVersion = Version.Parse(version);
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        await using WebSide web = await WebSide.StartAsync(fabric, https ? HttpProtocols.Http1AndHttp2 : httpVersion.Major == 2 ? HttpProtocols.Http2 : HttpProtocols.Http1, MapEcho, https: https);
        using (var http = new HttpClient(WebSide.TrustIt(client.NewHandler())) { BaseAddress = web.Url })
        {
            for (int round = 0; round < 3; round++)
            {
                using HttpRequestMessage request = NewRequest(httpVersion, $"hello {round}");
                using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
                Assert.Equal(httpVersion, response.Version);
                Assert.Equal($"rma={true} https={https} HTTP/{httpVersion.Major}{(httpVersion.Major == 1 ? ".1" : "")} hello {round}", await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
            }
            // A single connection served all requests.
            Assert.Equal(1, client.Connections.Count);
            Assert.Equal(1, web.Services.GetRequiredService<RmaConnections>().Count);
        }
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }

    [Theory, MemberData(nameof(Protocols))]
    public async Task ARequestCanAskWhoHasConnected(string fabric, string version, bool https)
    {
        var httpVersion = Version.Parse(version);
        await using ClientSide client = await ClientSide.StartAsync(fabric, static services => services.AddRmaConnections(static o => o.ClientAuthentication = new SslClientAuthenticationOptions
        {
            ClientCertificates = [WebSide.Certificate],
            CertificateChainPolicy = TrustIt(),
        }));
        await using WebSide web = await WebSide.StartAsync(
            fabric,
            https ? HttpProtocols.Http1AndHttp2 : httpVersion.Major == 2 ? HttpProtocols.Http2 : HttpProtocols.Http1,
            static app => app.MapPost("/", static context => context.Response.WriteAsync(
                $"{context.Request.Scheme} {context.Features.Get<IRmaConnectionFeature>()?.Connection.RemoteCertificate?.Subject} {context.Connection.ClientCertificate?.Subject}")),
            static services => services.AddRmaConnections(static o => o.ServerAuthentication = new SslServerAuthenticationOptions
            {
                ServerCertificate = WebSide.Certificate,
                ClientCertificateRequired = true,
                CertificateChainPolicy = TrustIt(),
            }),
            https);
        using var http = new HttpClient(WebSide.TrustIt(client.NewHandler())) { BaseAddress = web.Url };
        using HttpRequestMessage request = NewRequest(httpVersion, "x");
        using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal($"{(https ? "https" : "http")} CN=127.0.0.1 ", await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    private static X509ChainPolicy TrustIt() => new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, CustomTrustStore = { WebSide.Certificate } };

    [Theory, MemberData(nameof(Fabrics))]
    public async Task SocketsAndFabricAnswerBesideEachOther(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        await using WebSide web = await WebSide.StartAsync(
            fabric,
            static builder =>
            {
                builder.WebHost.UseRma();
                builder.WebHost.ConfigureKestrel(static kestrel =>
                {
                    kestrel.Listen(new IPEndPoint(IPAddress.Loopback, 0));
                    kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0));
                });
            },
            MapEcho);
        using var overSockets = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = web.Urls[0] };
        using var overFabric = new HttpClient(client.NewHandler()) { BaseAddress = web.Urls[1] };
        Assert.Equal("rma=False https=False HTTP/1.1 x", await PostAsync(overSockets, "x"));
        Assert.Equal("rma=True https=False HTTP/1.1 x", await PostAsync(overFabric, "x"));
        // Each client connects to the other's port: there is no connection and one error, and the listeners continue.
        overSockets.CancelPendingRequests();
        using var wrongSockets = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = web.Urls[1] };
        await Assert.ThrowsAsync<HttpRequestException>(() => PostAsync(wrongSockets, "x"));
        using var wrongFabric = new HttpClient(client.NewHandler()) { BaseAddress = web.Urls[0] };
        await Assert.ThrowsAsync<HttpRequestException>(() => PostAsync(wrongFabric, "x"));
        Assert.Equal("rma=False https=False HTTP/1.1 y", await PostAsync(overSockets, "y"));
        Assert.Equal("rma=True https=False HTTP/1.1 y", await PostAsync(overFabric, "y"));
    }

    [Fact]
    public async Task EndPointsOfTheConfigurationGoOverTheFabricWhereTheyAreSelected()
    {
        await using ClientSide client = await ClientSide.StartAsync(Fabric.Any);
        await using WebSide web = await WebSide.StartAsync(
            Fabric.Any,
            static builder =>
            {
                builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
                {
                    ["Kestrel:Endpoints:A:Url"] = "http://127.0.0.1:0",
                    ["Kestrel:Endpoints:B:Url"] = "http://127.0.0.2:0",
                });
                builder.WebHost.UseRma(static e => e.Address.Equals(IPAddress.Parse("127.0.0.2")));
            },
            MapEcho);
        using var overSockets = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = web.Urls.Single(u => u.Host == "127.0.0.1") };
        using var overFabric = new HttpClient(client.NewHandler()) { BaseAddress = web.Urls.Single(u => u.Host == "127.0.0.2") };
        Assert.Equal("rma=False https=False HTTP/1.1 x", await PostAsync(overSockets, "x"));
        Assert.Equal("rma=True https=False HTTP/1.1 x", await PostAsync(overFabric, "x"));
    }

    [Fact]
    public async Task AnApplicationThatAddsConnectionsBeforeItsWebHostKeepsSockets()
    {
        using IHost host = new HostBuilder()
            .ConfigureServices(static services =>
            {
                services.AddRmaMemoryPool<HostMemory.HostProvider>();
                services.AddRmaConnections();
            })
            .ConfigureWebHost(static web => web.UseRma().UseKestrel(static kestrel =>
            {
                kestrel.Listen(IPAddress.Loopback, 0);
                kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0));
            }).Configure(static _ => { }))
            .Build();
        await host.StartAsync(TestContext.Current.CancellationToken);
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public void ATransportThatWouldTakeTheEndPointFailsTheBuild()
    {
        var error = Assert.Throws<InvalidOperationException>(() => WebSide.Build(Fabric.Any, static builder => builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(0))));
        Assert.Contains("with SocketTransportFactory. Call builder.WebHost.UseRma()", error.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => WebSide.Build(Fabric.Any, static builder =>
        {
            builder.WebHost.UseRma();
            builder.Services.AddSingleton<IConnectionListenerFactory, SocketTransportFactory>();
            builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(0));
        }));
    }

    [Theory]
    [InlineData("0", "http://[::]:")]
    [InlineData("1", "http://0.0.0.0:")]
    public async Task AllAddressesAreThoseThatTheSystemHas(string isWithoutIPv6, string url)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, ["any-address"]) { RedirectStandardOutput = true };
        start.Environment["DOTNET_SYSTEM_NET_DISABLEIPV6"] = isWithoutIPv6;
        using Process process = Process.Start(start)!;
        string all = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken).WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        // If the system itself has no IPv6, there is only one case.
        Assert.StartsWith(Socket.OSSupportsIPv6 ? url : "http://0.0.0.0:", all, StringComparison.Ordinal);
    }

    [Fact]
    public async Task APoolThatCannotBeOpenedFailsTheStartAndNotTheBuild()
    {
        await using WebApplication app = WebSide.Build(Fabric.Any, static builder =>
        {
            builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:Provider:Provider"] = "nothing" });
            builder.WebHost.UseRma();
            builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(0));
        });
        await Assert.ThrowsAsync<RmaPoolStartException>(() => app.StartAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task APortThatIsInUseFailsTheStart()
    {
        await using WebSide web = await WebSide.StartAsync(Fabric.Any, HttpProtocols.Http1, MapEcho);
        await using WebApplication second = WebSide.Build(Fabric.Any, builder =>
        {
            builder.WebHost.UseRma();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, web.Url.Port)));
        });
        var error = await Assert.ThrowsAsync<IOException>(() => second.StartAsync(TestContext.Current.CancellationToken));
        Assert.IsType<AddressInUseException>(error.InnerException);
        Assert.Contains(web.Url.Port.ToString(System.Globalization.CultureInfo.InvariantCulture), error.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ARefusedConnectionIsAnErrorOfTheRequest(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        int port;
        await using (WebSide web = await WebSide.StartAsync(fabric, HttpProtocols.Http1, MapEcho))
            port = web.Url.Port;
        using var http = new HttpClient(client.NewHandler());
        var error = await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync(new Uri($"http://127.0.0.1:{port}"), TestContext.Current.CancellationToken));
        Assert.Equal(HttpRequestError.ConnectionError, error.HttpRequestError);
        Assert.Equal(SocketError.ConnectionRefused, Assert.IsType<SocketException>(error.InnerException).SocketErrorCode);
        await client.Services.BecomesCleanAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ClientsOfTheFactoryConnectOverTheFabric(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric, static services => services.AddHttpClient("web").UseRma());
        await using WebSide web = await WebSide.StartAsync(fabric, HttpProtocols.Http1, MapEcho);
        HttpClient http = client.Services.GetRequiredService<IHttpClientFactory>().CreateClient("web");
        http.BaseAddress = web.Url;
        Assert.Equal("rma=True https=False HTTP/1.1 x", await PostAsync(http, "x"));
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AnIdleConnectionThatTheServerHasClosedIsReplaced(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        IConnectionLifetimeNotificationFeature? lifetime = null;
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WebSide web = await WebSide.StartAsync(
            fabric,
            builder =>
            {
                builder.WebHost.UseRma();
                builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), listen => listen.Use(next => async connection =>
                {
                    await next(connection);
                    closed.TrySetResult();
                })));
            },
            app => app.MapGet("/", (HttpContext context) =>
            {
                lifetime = context.Features.Get<IConnectionLifetimeNotificationFeature>();
                return context.Connection.Id;
            }));
        using var http = new HttpClient(client.NewHandler()) { BaseAddress = web.Url };
        string first = await http.GetStringAsync("/", TestContext.Current.CancellationToken);
        Assert.Equal(first, await http.GetStringAsync("/", TestContext.Current.CancellationToken));
        lifetime!.RequestClose();
        await closed.Task;
        Assert.NotEqual(first, await http.GetStringAsync("/", TestContext.Current.CancellationToken));
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AShutdownWaitsForTheRequestThatIsUnderWay(string fabric)
    {
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var mayAnswer = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WebSide web = await WebSide.StartAsync(fabric, HttpProtocols.Http1, app => app.MapGet("/", async () =>
        {
            arrived.SetResult();
            await mayAnswer.Task;
            return "late";
        }));
        using (var http = new HttpClient(client.NewHandler()) { BaseAddress = web.Url })
        {
            Task<string> answer = http.GetStringAsync("/", TestContext.Current.CancellationToken);
            await arrived.Task;
            Task stopping = web.StopAsync();
            mayAnswer.SetResult();
            Assert.Equal("late", await answer);
            await stopping;
        }
        Assert.Equal((0, 0), web.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics() is var now ? (now.RentedBuffers, now.QuarantinedBuffers) : default);
        await client.Services.BecomesCleanAsync();
    }

    private static void MapEcho(WebApplication app) => app.MapPost("/", static async context =>
    {
        using var reader = new StreamReader(context.Request.Body);
        string body = await reader.ReadToEndAsync(context.RequestAborted);
        await context.Response.WriteAsync($"rma={WebSide.IsRma(context)} https={context.Request.IsHttps} {context.Request.Protocol} {body}");
    });

    private static HttpRequestMessage NewRequest(Version version, string body) => new(HttpMethod.Post, "/")
    {
        Version = version,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Content = new StringContent(body),
    };

    private static async Task<string> PostAsync(HttpClient http, string body)
    {
        using HttpRequestMessage request = NewRequest(HttpVersion.Version11, body);
        using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        return await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
    }
}
