using System.Diagnostics;
using System.Globalization;
using System.Net;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Hosting;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>Starts silos: in this process, or in a separate one, which can be killed.</summary>
internal static class SiloProcess
{
    /// <summary>Starts a silo in a process, which ends when its input does.</summary>
    public static async Task<Process> StartAsync(string fabric, int siloPort, int gatewayPort, int primaryPort)
    {
        string[] arguments = ["silo", fabric, .. ((int[])[siloPort, gatewayPort, primaryPort]).Select(static p => p.ToString(CultureInfo.InvariantCulture))];
        var process = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        string? line = await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTime.Seconds(60), TestContext.Current.CancellationToken);
        Assert.Equal("ready", line);
        return process;
    }

    /// <summary>Runs that process.</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        int[] ports = [.. arguments[1..].Select(static a => int.Parse(a, CultureInfo.InvariantCulture))];
        using IHost host = await StartSiloAsync(arguments[0], ports[0], ports[1], new IPEndPoint(IPAddress.Loopback, ports[2]));
        Console.WriteLine("ready");
        await Console.In.ReadToEndAsync();
        await host.StopAsync();
        return 0;
    }

    /// <summary>Starts a silo in this process.</summary>
    public static async Task<IHost> StartSiloAsync(string fabric, int siloPort, int gatewayPort, IPEndPoint primary, Action<ISiloBuilder>? configure = null)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(fabric);
        builder.UseOrleans(silo =>
        {
            silo.UseLocalhostClustering(siloPort, gatewayPort, primary).UseRma();
            // This makes the cluster notice a dead silo soon.
            silo.Configure<ClusterMembershipOptions>(static o =>
            {
                o.ProbeTimeout = TestTime.Seconds(1);
                o.NumMissedProbesLimit = 2;
                o.NumVotesForDeathDeclaration = 1;
                o.TableRefreshTimeout = TestTime.Seconds(2);
            });
            configure?.Invoke(silo);
        });
        builder.Logging.ClearProviders();
        IHost host = builder.Build();
        await host.StartAsync(CancellationToken.None);
        return host;
    }
}
