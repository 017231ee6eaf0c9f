using System.Globalization;
using System.Net;
using AllocTools.Connections;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Runtime;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>
/// Sides that are processes of their own on other hosts. Each answers each line of its input by a line, ends with its input, and writes last what is left:
/// connections, and buffers that are rented and in quarantine.
/// </summary>
internal static class RemoteSides
{
    /// <summary>A silo at port 5002, whose gateway is at port 5003. The primary silo keeps the list of members.</summary>
    public static async Task<int> RunSiloAsync(string fabric, string primary, string address)
    {
        using IHost host = await SiloProcess.StartSiloAsync(fabric, 5002, 5003, new IPEndPoint(IPAddress.Parse(primary), 5002), silo =>
        {
            silo.ConfigureEndpoints(IPAddress.Parse(address), 5002, 5003);
            SetTimes(silo.Services);
        });
        await AnswerAsync(line => Task.FromResult(Left(line, host.Services)));
        await host.StopAsync();
        Console.WriteLine(Left("left", host.Services));
        return 0;
    }

    /// <summary>A client of such silos, by the gateway of one of them.</summary>
    public static async Task<int> RunSiloClientAsync(string fabric, string address)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(fabric);
        builder.UseOrleansClient(client =>
        {
            client.UseLocalhostClustering(0).UseStaticClustering(new IPEndPoint(IPAddress.Parse(address), 5003)).UseRma();
            client.Configure<ClientMessagingOptions>(static o => o.ResponseTimeout = TestTime.Seconds(5));
            SetTimes(client.Services);
        });
        builder.Logging.ClearProviders();
        using IHost host = builder.Build();
        await host.StartAsync();
        IGrainFactory grains = host.Services.GetRequiredService<IGrainFactory>();
        await AnswerAsync(async line => line.Split(' ') switch
        {
            ["ask", var count] => await AskAsync(grains, int.Parse(count, CultureInfo.InvariantCulture)),
            ["dead"] => await DeadAsync(grains),
            _ => Left(line, host.Services),
        });
        await host.StopAsync();
        Console.WriteLine(Left("left", host.Services));
        return 0;
    }

    /// <summary>Asks grains, each of which asks another one.</summary>
    /// <returns>The addresses of the silos that they are in, whether calls went between silos, and how many calls failed.</returns>
    private static async Task<string> AskAsync(IGrainFactory grains, int count)
    {
        (string Here, string There)?[] answers = await Task.WhenAll(Enumerable.Range(0, count).Select(async i =>
        {
            try
            {
                return ((string, string)?)await grains.GetGrain<IPlace>(i).AskAsync(grains.GetGrain<IPlace>(i + 10_000));
            }
            catch (Exception e) when (e is OrleansException or TimeoutException)
            {
                // Until the cluster has found a silo dead.
                return null;
            }
        }));
        (string Here, string There)[] good = [.. answers.OfType<(string, string)>()];
        IEnumerable<string> silos = good.SelectMany(static a => new[] { a.Here, a.There }).Select(AddressOf).Distinct().Order(StringComparer.Ordinal);
        return $"{string.Join(',', silos)} {(good.Any(static a => a.Here != a.There) ? "across" : "inside")} {count - good.Length}";
    }

    /// <summary>The addresses of those that the cluster has declared dead.</summary>
    private static async Task<string> DeadAsync(IGrainFactory grains)
    {
        try
        {
            Dictionary<SiloAddress, SiloStatus> hosts = await grains.GetGrain<IManagementGrain>(0).GetHosts();
            return $"dead {string.Join(',', hosts.Where(static h => h.Value == SiloStatus.Dead).Select(static h => AddressOf(h.Key.ToString())).Order(StringComparer.Ordinal))}";
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            return $"error {e.GetType().Name}";
        }
    }

    /// <summary>Of a silo's name, which is its address, its port and its start.</summary>
    private static string AddressOf(string silo) => silo[..silo.IndexOf(':', StringComparison.Ordinal)].TrimStart('S');

    /// <summary>What is gone is noticed soon.</summary>
    private static void SetTimes(IServiceCollection services)
    {
        services.ConfigureAll<RmaConnectionOptions>(static o => (o.HeartbeatInterval, o.PeerTimeout, o.SetUpTimeout) = (TestTime.Seconds(0.2), TestTime.Seconds(3), TestTime.Seconds(3)));
        services.ConfigureAll<LibfabricOptions>(static o => o.Endpoint.OperationTimeout = TestTime.Seconds(4));
        services.ConfigureAll<UcxOptions>(static o => o.Endpoint.OperationTimeout = TestTime.Seconds(4));
    }

    private static string Left(string line, IServiceProvider services)
    {
        if (line != "left")
            return $"unknown: {line}";
        RmaPoolStatistics now = services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
        return $"{services.GetRequiredService<RmaConnections>().Count} {now.RentedBuffers} {now.QuarantinedBuffers}";
    }

    private static async Task AnswerAsync(Func<string, Task<string>> answer)
    {
        await Console.Out.WriteLineAsync("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            await Console.Out.WriteLineAsync(await answer(line));
            await Console.Out.FlushAsync();
        }
    }
}
