// Runs an Orleans cluster of two silos, each in its own process, and a client. Silos connect to each other, and the
// client to the gateways, over a fabric, with one line in each.
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using AllocTools.Hosting;
using AllocTools.Libfabric;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Orleans.Placement;
using Orleans.Runtime;
using Samples;

var line = new CommandLine("Lets the grains of two silos call each other over a fabric.",
    [
        new("--provider", "AllocTools:Provider:Provider", "NAME", "the fabric: shm (default), tcp;ofi_rxm, ..."),
        new("--grains", "Grains", "N", "how many grains there are (default: 40)", IsCount: true),
        new("--calls", "Calls", "N", "how many others each of them calls (default: 100)", IsCount: true),
        new("--sockets", "Sockets", "", "over sockets, for comparison"),
    ], "AllocTools");

try
{
    return args is ["silo", var port, var gateway, var primary, .. string[] rest] ? await RunSiloAsync(Number(port), Number(gateway), Number(primary), rest) : line.Parse(args) is { } arguments ? await RunClientAsync(arguments) : 0;
}
catch (OperationCanceledException)
{
    Console.Error.WriteLine("Stopped."); // The silos end when their inputs are closed.
    return 130;
}
catch (UsageException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 2;
}
catch (Exception e) when (e is OptionsValidationException or RmaPoolStartException)
{
    Console.Error.WriteLine(e is OptionsValidationException invalid ? string.Join('\n', invalid.Failures) : e.Message);
    return 1;
}

async Task<int> RunSiloAsync(int port, int gateway, int primary, string[] arguments)
{
    HostApplicationBuilder builder = NewBuilder(arguments);
    builder.UseOrleans(silo =>
    {
        silo.UseLocalhostClustering(port, gateway, new IPEndPoint(IPAddress.Loopback, primary));
        if (!builder.Configuration.GetValue<bool>("Sockets"))
            silo.UseRma(); // the one line
    });
    using IHost host = builder.Build();
    await host.StartAsync();
    Console.WriteLine("ready");
    // Wait until the client closes this process's input, or has exited.
    await Console.In.ReadToEndAsync();
    await host.StopAsync();
    return 0;
}

async Task<int> RunClientAsync(string[] arguments)
{
    int[] ports = FreePorts(4);
    List<Process> silos = [];
    for (int i = 0; i < 2; i++)
    {
        string[] silo = ["silo", $"{ports[i]}", $"{ports[2 + i]}", $"{ports[0]}", .. arguments];
        silos.Add(Process.Start(new ProcessStartInfo(Environment.ProcessPath!, silo) { RedirectStandardInput = true, RedirectStandardOutput = true })!);
        if (await silos[i].StandardOutput.ReadLineAsync() == "ready")
            continue;
        // The silo has already reported the reason.
        silos.ForEach(static s => s.StandardInput.Close());
        await silos[i].WaitForExitAsync();
        return Math.Max(1, silos[i].ExitCode);
    }
    HostApplicationBuilder builder = NewBuilder(arguments);
    bool isOverSockets = builder.Configuration.GetValue<bool>("Sockets");
    builder.UseOrleansClient(client =>
    {
        client.UseLocalhostClustering(ports[2..]);
        if (!isOverSockets)
            client.UseRma(); // the one line
    });
    using IHost host = builder.Build();
    await host.StartAsync();
    CancellationToken stopping = host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
    int count = builder.Configuration.GetValue<int>("Grains");
    int calls = builder.Configuration.GetValue<int>("Calls");
    IGrainFactory grains = host.Services.GetRequiredService<IGrainFactory>();
    // The first calls find or create the grains.
    await Task.WhenAll(Enumerable.Range(0, count).Select(i => grains.GetGrain<IWalker>(i).WalkAsync(Math.Min(calls, count), count))).WaitAsync(stopping);
    Tally[] tallies = await Task.WhenAll(Enumerable.Range(0, count).Select(i => grains.GetGrain<IWalker>(i).WalkAsync(calls, count))).WaitAsync(stopping);
    Console.WriteLine($"{count} grains in two silos; each called {calls} others, one after the other, over {(isOverSockets ? "sockets" : builder.Configuration["AllocTools:Provider:Provider"])}");
    Console.WriteLine($"{"process",-10}{"grains",10}{"calls inside it",20}{"to the other silo",20}{"mean time of one",20}");
    foreach (IGrouping<int, Tally> silo in tallies.GroupBy(static t => t.Process).OrderBy(static g => g.Key))
    {
        double mean = silo.Sum(static t => t.AcrossTime.TotalMicroseconds) / Math.Max(1, silo.Sum(static t => t.Across));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{silo.Key,-10}{silo.Count(),10}{silo.Sum(static t => t.Inside),20}{silo.Sum(static t => t.Across),20}{mean,17:0.0} us"));
    }
    int across = tallies.Sum(static t => t.Across);
    bool isRight = across > 0 && tallies.Sum(static t => t.Inside) + across == count * calls;
    Console.WriteLine(isRight ? $"{across} calls went from process to process and came back." : "No call went from silo to silo, or some did not come back.");
    await host.StopAsync();
    // The primary silo has the table of members, so it is stopped last.
    foreach (Process silo in Enumerable.Reverse(silos))
    {
        silo.StandardInput.Close();
        await silo.WaitForExitAsync();
    }
    return isRight ? silos.Max(static s => s.ExitCode) : 1;
}

HostApplicationBuilder NewBuilder(string[] arguments)
{
    HostApplicationBuilder builder = CommandLine.CreateBuilder(arguments);
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
    return builder;
}

static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

// A silo can't let the system choose its ports, so this finds free ports that are not ephemeral ones.
static int[] FreePorts(int count)
{
    var ports = new HashSet<int>();
    while (ports.Count < count)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        // The range is below the usual ephemeral ports, so that no other connection takes the port before the silo
        // listens.
        int port = Random.Shared.Next(10_000, 32_000);
        try
        {
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            ports.Add(port);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse or SocketError.AccessDenied)
        {
            // The port is in use, so the next one is tried.
        }
    }
    return [.. ports];
}

/// <summary>A grain that calls others.</summary>
internal interface IWalker : IGrainWithIntegerKey
{
    /// <summary>Calls others, one after the other.</summary>
    Task<Tally> WalkAsync(int calls, int grains);

    /// <summary>Returns the id of the process in which the grain runs.</summary>
    [Orleans.Concurrency.AlwaysInterleave]
    Task<int> WhereAsync();
}

/// <summary>The calls that a grain has made.</summary>
[GenerateSerializer]
internal sealed record Tally([property: Id(0)] int Process, [property: Id(1)] int Inside, [property: Id(2)] int Across, [property: Id(3)] TimeSpan AcrossTime);

/// <inheritdoc cref="IWalker"/>
[RandomPlacement]
internal sealed class Walker : Grain, IWalker
{
    public async Task<Tally> WalkAsync(int calls, int grains)
    {
        int inside = 0, across = 0;
        TimeSpan acrossTime = default;
        for (int i = 1; i <= calls; i++)
        {
            IWalker other = GrainFactory.GetGrain<IWalker>((this.GetPrimaryKeyLong() + i) % grains);
            long start = Stopwatch.GetTimestamp();
            if (await other.WhereAsync() == Environment.ProcessId)
            {
                inside++;
                continue;
            }
            across++;
            acrossTime += Stopwatch.GetElapsedTime(start);
        }
        return new Tally(Environment.ProcessId, inside, across, acrossTime);
    }

    public Task<int> WhereAsync() => Task.FromResult(Environment.ProcessId);
}
