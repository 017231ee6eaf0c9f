using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>A web application that listens over a fabric.</summary>
internal sealed class WebSide : IAsyncDisposable
{
    private readonly WebApplication _app;

    private WebSide(WebApplication app) => _app = app;

    /// <summary>Gets a self-signed certificate for 127.0.0.1.</summary>
    public static X509Certificate2 Certificate { get; } = NewCertificate();

    public IServiceProvider Services => _app.Services;

    /// <summary>Gets the URLs that it listens at, in the order of its end points.</summary>
    public Uri[] Urls => [.. Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(a => new Uri(a))];

    public Uri Url => Urls[0];

    /// <summary>Starts an application with one end point, over the fabric.</summary>
    public static Task<WebSide> StartAsync(string fabric, HttpProtocols protocols, Action<WebApplication> map, Action<IServiceCollection>? services = null, bool https = false) =>
        StartAsync(
            fabric,
            builder =>
            {
                builder.WebHost.UseRma();
                builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), listen =>
                {
                    listen.Protocols = protocols;
                    if (https)
                        listen.UseHttps(Certificate);
                }));
                services?.Invoke(builder.Services);
            },
            map);

    public static async Task<WebSide> StartAsync(string fabric, Action<WebApplicationBuilder> configure, Action<WebApplication> map)
    {
        WebApplication app = Build(fabric, configure);
        map(app);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return new WebSide(app);
    }

    public static WebApplication Build(string fabric, Action<WebApplicationBuilder> configure)
    {
        WebApplicationBuilder builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.AddPool(fabric);
        // The limits are as long as the test: if something is slow here, it is the machine.
        builder.WebHost.ConfigureKestrel(static kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
        });
        configure(builder);
        return builder.Build();
    }

    /// <summary>Whether a request has arrived over a fabric.</summary>
    public static bool IsRma(HttpContext context) => context.Features.Get<IConnectionTransportFeature>() is RmaConnection;

    /// <summary>Makes a handler trust <see cref="Certificate"/>, and nothing else.</summary>
    public static SocketsHttpHandler TrustIt(SocketsHttpHandler handler)
    {
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            CustomTrustStore = { Certificate },
        };
        return handler;
    }

    /// <summary>Listens at a port of all addresses, and prints which addresses those are.</summary>
    public static async Task<int> RunAnyAddressAsync()
    {
        await using WebApplication app = Build(Testing.Fabric.Any, static builder =>
        {
            builder.WebHost.UseRma();
            builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(0));
        });
        await app.StartAsync();
        Console.WriteLine(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        await app.StopAsync();
        return 0;
    }

    public Task StopAsync() => _app.StopAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    private static X509Certificate2 NewCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        DateTimeOffset now = DateTimeOffset.UtcNow;
        return request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }
}
