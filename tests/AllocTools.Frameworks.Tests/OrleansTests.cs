using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Connections.Security;
using Orleans.Hosting;
using Orleans.Runtime;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests a cluster of two silos and a client, each with its own pool.</summary>
public sealed class OrleansTests
{
    public static TheoryData<string> Fabrics => FabricHost.Fabrics;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task GrainsCallEachOtherAcrossSilos(string fabric)
    {
        int[] ports = FreePorts(4);
        var primary = new IPEndPoint(IPAddress.Loopback, ports[0]);
        using IHost first = await SiloProcess.StartSiloAsync(fabric, ports[0], ports[2], primary);
        using IHost second = await SiloProcess.StartSiloAsync(fabric, ports[1], ports[3], primary);
        using IHost outside = await StartClientAsync(fabric, ports[2..]);
        IGrainFactory grains = outside.Services.GetRequiredService<IGrainFactory>();
        var callers = new HashSet<string>();
        int across = 0;
        for (int i = 0; i < 200 && (across < 20 || callers.Count < 2); i++)
        {
            (string here, string there) = await grains.GetGrain<IPlace>(i).AskAsync(grains.GetGrain<IPlace>(i + 10_000));
            callers.Add(here);
            across += here == there ? 0 : 1;
        }
        Assert.Equal(2, callers.Count);
        Assert.True(across >= 20, $"Only {across} calls went from silo to silo.");
        // This is longer than any ring, and goes through a gateway and a silo.
        byte[] big = new byte[2_000_000];
        Random.Shared.NextBytes(big);
        for (int i = 0; i < 8; i++)
            Assert.Equal(big, await grains.GetGrain<IPlace>(i).RelayAsync(big, grains.GetGrain<IPlace>(i + 10_000)));
        await Task.WhenAll(Enumerable.Range(0, 500).Select(i => grains.GetGrain<IPlace>(i % 50).AskAsync(grains.GetGrain<IPlace>(i % 50 + 10_000))));
        // Both silos are connected to each other and to the client; only the fabric listens at their ports.
        Assert.All((IHost[])[first, second, outside], static host => Assert.True(host.Services.GetRequiredService<RmaConnections>().Count > 0));
        await outside.StopAsync(TestContext.Current.CancellationToken);
        await second.StopAsync(TestContext.Current.CancellationToken);
        // The grains that were there are activated elsewhere.
        Assert.Equal(callers.Count - 1, (await Task.WhenAll(Enumerable.Range(0, 20).Select(i => first.Services.GetRequiredService<IGrainFactory>().GetGrain<IPlace>(i).NameAsync()))).Distinct().Count());
        await first.StopAsync(TestContext.Current.CancellationToken);
        Assert.All((IHost[])[first, second, outside], static host =>
        {
            RmaPoolStatistics now = host.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
            Assert.Equal((0, 0), (now.RentedBuffers, now.QuarantinedBuffers));
        });
    }

    [Fact]
    public void ASecondCallIsAnError()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(Fabric.Any);
        var error = Assert.Throws<InvalidOperationException>(() => builder.UseOrleans(static silo => silo.UseLocalhostClustering().UseRma().UseRma()));
        Assert.Contains("called twice", error.Message, StringComparison.Ordinal);
        HostApplicationBuilder client = Host.CreateEmptyApplicationBuilder(null);
        client.AddPool(Fabric.Any);
        Assert.Throws<InvalidOperationException>(() => client.UseOrleansClient(static c => c.UseLocalhostClustering().UseRma().UseRma()));
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task SilosAndClientsMaySpeakTls(string fabric)
    {
        using var authority = new Authority("the cluster's authority");
        using X509Certificate2 certificate = authority.Sign("silo.example");
        void ByTls(TlsOptions tls)
        {
            tls.LocalCertificate = certificate;
            tls.RemoteCertificateMode = RemoteCertificateMode.RequireCertificate;
            tls.ClientCertificateMode = RemoteCertificateMode.RequireCertificate;
            tls.RemoteCertificateValidation = (peer, _, _) =>
            {
                using var chain = X509Chain.Create();
                chain.ChainPolicy = authority.Policy;
                return chain.Build(peer) && peer.Subject == "CN=silo.example";
            };
            tls.OnAuthenticateAsClient = static (_, options) => options.TargetHost = "silo.example";
        }
        int[] ports = FreePorts(4);
        var primary = new IPEndPoint(IPAddress.Loopback, ports[0]);
        using IHost first = await SiloProcess.StartSiloAsync(fabric, ports[0], ports[2], primary, silo => silo.UseTls(ByTls));
        using IHost second = await SiloProcess.StartSiloAsync(fabric, ports[1], ports[3], primary, silo => silo.UseTls(ByTls));
        using IHost outside = await StartClientAsync(fabric, ports[2..], client => client.UseTls(ByTls));
        IGrainFactory grains = outside.Services.GetRequiredService<IGrainFactory>();
        byte[] bytes = new byte[500_000];
        Random.Shared.NextBytes(bytes);
        int across = 0;
        for (int i = 0; i < 200 && across < 10; i++)
        {
            (string here, string there) = await grains.GetGrain<IPlace>(i).AskAsync(grains.GetGrain<IPlace>(i + 10_000));
            across += here == there ? 0 : 1;
            if (i % 20 == 0)
                Assert.Equal(bytes, await grains.GetGrain<IPlace>(i).RelayAsync(bytes, grains.GetGrain<IPlace>(i + 10_000)));
        }
        Assert.True(across >= 10, $"Only {across} calls went from silo to silo.");
        // A client without a certificate is refused.
        using IHost stranger = BuildClient(fabric, ports[2..], static client => client.UseTls(static tls => tls.AllowAnyRemoteCertificate()).UseConnectionRetryFilter(static (_, _) => Task.FromResult(false)));
        await Assert.ThrowsAnyAsync<Exception>(() => stranger.StartAsync(TestContext.Current.CancellationToken));
        await outside.StopAsync(TestContext.Current.CancellationToken);
        await second.StopAsync(TestContext.Current.CancellationToken);
        await first.StopAsync(TestContext.Current.CancellationToken);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task GrainsOfASiloThatIsKilledGoOnInAnother(string fabric)
    {
        int[] ports = FreePorts(4);
        using IHost first = await SiloProcess.StartSiloAsync(fabric, ports[0], ports[2], new IPEndPoint(IPAddress.Loopback, ports[0]));
        using Process second = await SiloProcess.StartAsync(fabric, ports[1], ports[3], ports[0]);
        try
        {
            using IHost outside = await StartClientAsync(fabric, ports[2..3]);
            IGrainFactory grains = outside.Services.GetRequiredService<IGrainFactory>();
            string killed = $"{IPAddress.Loopback}:{ports[1]}";
            List<IPlace> gone = [];
            List<IPlace> stay = [];
            for (int i = 0; i < 500 && (gone.Count < 5 || stay.Count < 5); i++)
            {
                IPlace place = grains.GetGrain<IPlace>(i);
                ((await place.NameAsync()).Contains(killed, StringComparison.Ordinal) ? gone : stay).Add(place);
            }
            Assert.True(gone.Count >= 5 && stay.Count >= 5, $"{gone.Count} and {stay.Count} grains are in the two silos.");
            // A call is under way when the silo is killed.
            Task<byte[]> pending = stay[0].RelayAsync(new byte[2_000_000], gone[0]);
            second.Kill();
            await second.WaitForExitAsync(TestContext.Current.CancellationToken);
            // The first grain accepts no other call until that one is over; the others continue at once.
            foreach (IPlace place in stay.Skip(1).Take(4))
                await place.NameAsync();
            using var limit = new CancellationTokenSource(TestTime.Seconds(60));
            foreach (IPlace place in gone)
            {
                while (true)
                {
                    try
                    {
                        Assert.DoesNotContain(killed, await place.NameAsync(), StringComparison.Ordinal);
                        break;
                    }
                    catch (Exception e) when (e is Orleans.Runtime.OrleansException or TimeoutException)
                    {
                        // This lasts until the cluster has found that the silo is dead.
                        Assert.False(limit.IsCancellationRequested, e.Message);
                        await Task.Delay(50, CancellationToken.None);
                    }
                }
            }
            // The call ends, successfully or not.
            await Task.WhenAny(pending).WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
            await outside.StopAsync(TestContext.Current.CancellationToken);
            await first.StopAsync(TestContext.Current.CancellationToken);
            Assert.All((IHost[])[first, outside], static host =>
            {
                RmaPoolStatistics now = host.Services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
                Assert.Equal((0, 0), (now.RentedBuffers, now.QuarantinedBuffers));
            });
        }
        finally
        {
            if (!second.HasExited)
                second.Kill();
        }
    }

    private static async Task<IHost> StartClientAsync(string fabric, int[] gatewayPorts, Action<IClientBuilder>? configure = null)
    {
        IHost host = BuildClient(fabric, gatewayPorts, configure);
        await host.StartAsync(TestContext.Current.CancellationToken);
        return host;
    }

    private static IHost BuildClient(string fabric, int[] gatewayPorts, Action<IClientBuilder>? configure)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(fabric);
        builder.UseOrleansClient(client =>
        {
            client.UseLocalhostClustering(gatewayPorts).UseRma();
            configure?.Invoke(client);
        });
        builder.Logging.ClearProviders();
        return builder.Build();
    }

    /// <summary>Returns free ports that the system does not assign on its own; silos can't pick theirs when they start.</summary>
    private static int[] FreePorts(int count)
    {
        var ports = new HashSet<int>();
        while (ports.Count < count)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            // The port is below the usual range of ephemeral ports, so that no other connection has taken it when the
            // silo listens.
            int port = Random.Shared.Next(10_000, 32_000);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                ports.Add(port);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse or SocketError.AccessDenied)
            {
                // Try the next port.
            }
        }
        return [.. ports];
    }
}

/// <summary>A grain that reports where it is.</summary>
public interface IPlace : IGrainWithIntegerKey
{
    /// <summary>Returns the name of its silo.</summary>
    Task<string> NameAsync();

    /// <summary>Returns the name of its silo, and of that of another grain, which it asks.</summary>
    Task<(string Here, string There)> AskAsync(IPlace other);

    /// <summary>Returns the bytes by way of another grain.</summary>
    Task<byte[]> RelayAsync(byte[] bytes, IPlace other);

    /// <summary>Returns the bytes.</summary>
    Task<byte[]> EchoAsync(byte[] bytes);
}

/// <inheritdoc cref="IPlace"/>
[Orleans.Placement.RandomPlacement]
public sealed class Place(ILocalSiloDetails silo) : Grain, IPlace
{
    /// <inheritdoc/>
    public Task<string> NameAsync() => Task.FromResult(silo.SiloAddress.ToString());

    /// <inheritdoc/>
    public async Task<(string Here, string There)> AskAsync(IPlace other) => (await NameAsync(), await other.NameAsync());

    /// <inheritdoc/>
    public Task<byte[]> RelayAsync(byte[] bytes, IPlace other) => other.EchoAsync(bytes);

    /// <inheritdoc/>
    public Task<byte[]> EchoAsync(byte[] bytes) => Task.FromResult(bytes);
}
