using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests HTTPS with certificates of an authority, using the default checks of HttpClient and Kestrel.</summary>
public sealed class HttpsTests : IDisposable
{
    private readonly Authority _authority = new("AllocTools test authority");

    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    public void Dispose() => _authority.Dispose();

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACertificateOfTheAuthorityForThisHostIsAccepted(string fabric)
    {
        using X509Certificate2 certificate = _authority.Sign("localhost");
        await using WebSide web = await StartAsync(fabric, certificate);
        await using ClientSide client = await ClientSide.StartAsync(fabric);
        byte[] body = new byte[3_000_000];
        Random.Shared.NextBytes(body);
        using (var http = NewClient(client, web, "localhost"))
        {
            foreach (Version version in (Version[])[HttpVersion.Version11, HttpVersion.Version20])
            {
                using var request = new HttpRequestMessage(HttpMethod.Post, "/echo") { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = new ByteArrayContent(body) };
                using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
                Assert.Equal((HttpStatusCode.OK, version), (response.StatusCode, response.Version));
                byte[] echo = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
                Assert.True(body.AsSpan().SequenceEqual(echo));
            }
            Assert.Equal("rma=True https=True ", await http.GetStringAsync("/", TestContext.Current.CancellationToken));
        }
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }

    [Theory]
    [InlineData("another.example", true)]
    [InlineData("localhost", false)]
    public async Task ACertificateForAnotherHostOrOfAnotherAuthorityIsRefused(string name, bool isKnown)
    {
        using var stranger = new Authority("another authority");
        using X509Certificate2 certificate = (isKnown ? _authority : stranger).Sign(name);
        await using WebSide web = await StartAsync(Fabric.Any, certificate);
        await using ClientSide client = await ClientSide.StartAsync(Fabric.Any);
        using (var http = NewClient(client, web, "localhost"))
        {
            var error = await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync("/", TestContext.Current.CancellationToken));
            Assert.Equal(HttpRequestError.SecureConnectionError, error.HttpRequestError);
            Assert.IsType<AuthenticationException>(error.InnerException);
        }
        // Nothing of the refused connection is left on either side.
        await client.Services.BecomesCleanAsync();
        await web.Services.BecomesCleanAsync();
    }

    [Fact]
    public async Task AServerMayAskForACertificateOfTheClient()
    {
        using X509Certificate2 certificate = _authority.Sign("localhost");
        using X509Certificate2 own = _authority.Sign("client-7");
        using var stranger = new Authority("another authority");
        using X509Certificate2 foreign = stranger.Sign("client-7");
        await using WebSide web = await StartAsync(Fabric.Any, certificate, https =>
        {
            https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
            https.ClientCertificateValidation = (client, _, _) =>
            {
                using var chain = X509Chain.Create();
                chain.ChainPolicy = _authority.Policy;
                return chain.Build(client);
            };
        });
        await using ClientSide client = await ClientSide.StartAsync(Fabric.Any);
        using (var http = NewClient(client, web, "localhost", own))
            Assert.Equal("rma=True https=True CN=client-7", await http.GetStringAsync("/", TestContext.Current.CancellationToken));
        using (var http = NewClient(client, web, "localhost", foreign))
            await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync("/", TestContext.Current.CancellationToken));
        using (var http = NewClient(client, web, "localhost"))
            await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync("/", TestContext.Current.CancellationToken));
        await client.Services.BecomesCleanAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AClientsOwnHandlerMayBeSetBeforeOrAfterUseRma(bool before)
    {
        using X509Certificate2 certificate = _authority.Sign("localhost");
        await using WebSide web = await StartAsync(Fabric.Any, certificate);
        await using ClientSide client = await ClientSide.StartAsync(Fabric.Any, services =>
        {
            IHttpClientBuilder http = services.AddHttpClient("orders");
            if (!before)
                http.UseRma();
            http.ConfigurePrimaryHttpMessageHandler(() => new SocketsHttpHandler { SslOptions = { CertificateChainPolicy = _authority.Policy } });
            if (before)
                http.UseRma();
        });
        using HttpClient orders = client.Services.GetRequiredService<IHttpClientFactory>().CreateClient("orders");
        Assert.StartsWith("rma=True https=True", await orders.GetStringAsync($"https://localhost:{web.Url.Port}/", TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public void AClientWithoutConnectionsIsAClearError()
    {
        var services = new ServiceCollection();
        services.AddHttpClient("orders").UseRma();
        services.AddHttpClient("named").UseRma("front");
        using ServiceProvider provider = services.BuildServiceProvider();
        var factory = provider.GetRequiredService<IHttpClientFactory>();
        Assert.Contains("services.AddRmaConnections() after AddRmaMemoryPool", Assert.Throws<InvalidOperationException>(() => factory.CreateClient("orders")).Message, StringComparison.Ordinal);
        Assert.Contains("services.AddRmaConnections(\"front\") after AddRmaMemoryPool", Assert.Throws<InvalidOperationException>(() => factory.CreateClient("named")).Message, StringComparison.Ordinal);
    }

    private static Task<WebSide> StartAsync(string fabric, X509Certificate2 certificate, Action<HttpsConnectionAdapterOptions>? configure = null) => WebSide.StartAsync(
        fabric,
        builder =>
        {
            builder.WebHost.UseRma();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), listen => listen.UseHttps(https =>
            {
                https.ServerCertificate = certificate;
                configure?.Invoke(https);
            })));
        },
        static app =>
        {
            app.MapGet("/", static context => context.Response.WriteAsync($"rma={WebSide.IsRma(context)} https={context.Request.IsHttps} {context.Connection.ClientCertificate?.Subject}"));
            app.MapPost("/echo", static async context =>
            {
                // In HTTP/1.1, HttpClient sends the whole body before it reads.
                using var body = new MemoryStream();
                await context.Request.Body.CopyToAsync(body, context.RequestAborted);
                await context.Response.Body.WriteAsync(body.ToArray(), context.RequestAborted);
            });
        });

    private HttpClient NewClient(ClientSide client, WebSide web, string host, X509Certificate2? certificate = null)
    {
        SocketsHttpHandler handler = client.NewHandler();
        handler.SslOptions.CertificateChainPolicy = _authority.Policy;
        if (certificate is not null)
            handler.SslOptions.ClientCertificates = [certificate];
        return new HttpClient(handler) { BaseAddress = new Uri($"https://{host}:{web.Url.Port}") };
    }
}
